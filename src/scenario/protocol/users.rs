//! The table of users: a row for each client, of CSV or of JSON objects, one a line.

use serde_json::{Map, Value as Json};

/// A table of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::scenario) struct Users {
    /// The file, as the scenario names it.
    pub(super) name: String,
    /// The names of its columns.
    pub(super) columns: Vec<String>,
    /// A cell for each column.
    pub(super) rows: Vec<Box<[Box<str>]>>,
}

/// Reads a table; `name` tells its form.
///
/// # Errors
/// What is wrong with it, in words that say in which line.
pub(super) fn read(name: &str, text: &str) -> Result<Users, String> {
    let is_jsonl = [".jsonl", ".ndjson"].iter().any(|end| name.ends_with(end));
    let (columns, rows) = match is_jsonl {
        true => from_jsonl(text)?,
        false => from_csv(text)?,
    };
    Ok(Users {
        name: name.to_owned(),
        columns,
        rows,
    })
}

type Cells = (Vec<String>, Vec<Box<[Box<str>]>>);

/// The first line has the names.
fn from_csv(text: &str) -> Result<Cells, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(text.as_bytes());
    let columns: Vec<String> = reader
        .headers()
        .map_err(|error| error.to_string())?
        .iter()
        .map(str::to_owned)
        .collect();
    if columns.iter().all(String::is_empty) {
        return Err("it is empty: its first line has the names of the columns".to_owned());
    }
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].contains(column) {
            return Err(format!("it has two columns {column:?}"));
        }
    }
    let rows = reader.records().map(|record| {
        let record = record.map_err(|error| match error.kind() {
            csv::ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                format!("line {line} has {len} cells, where its first line has {expected_len}")
            }
            _ => error.to_string(),
        })?;
        Ok(record.iter().map(Box::from).collect())
    });
    Ok((columns, rows.collect::<Result<_, String>>()?))
}

/// The first object has the names; the others have the same.
fn from_jsonl(text: &str) -> Result<Cells, String> {
    let mut columns: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let nth = nth + 1;
        if line.trim().is_empty() {
            continue;
        }
        let row: Map<String, Json> = serde_json::from_str(line)
            .map_err(|error| format!("line {nth} is no JSON object: {error}"))?;
        let columns = columns.get_or_insert_with(|| row.keys().cloned().collect());
        let cells = columns.iter().map(|column| match row.get(column) {
            Some(Json::String(text)) => Ok(text.as_str().into()),
            Some(value @ (Json::Number(_) | Json::Bool(_))) => Ok(value.to_string().into()),
            Some(_) => Err(format!("line {nth}: {column:?} is neither text nor number")),
            None => Err(format!(
                "line {nth} has no {column:?}, and the first one has"
            )),
        });
        rows.push(cells.collect::<Result<_, String>>()?);
    }
    let columns = columns.ok_or("it is empty: each line is a JSON object, a client's values")?;
    Ok((columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(name: &str, text: &str) -> Result<Vec<String>, String> {
        let users = read(name, text)?;
        let mut all = vec![users.columns.join("|")];
        all.extend(users.rows.iter().map(|row| row.join("|")));
        Ok(all)
    }

    #[test]
    fn both_forms_are_read_and_what_is_wrong_has_its_line() {
        let csv = "token, user\r\nabc,\"Ann, \"\"A\"\"\"\nd e,ü\n";
        assert_eq!(
            cells("users.csv", csv).unwrap(),
            ["token|user", "abc|Ann, \"A\"", "d e|ü"]
        );
        let jsonl = "{\"token\":\"abc\",\"n\":1}\n\n{\"n\":true,\"token\":\"\",\"more\":1}\n";
        let all = cells("u.jsonl", jsonl).unwrap();
        assert_eq!(all[1].len(), "abc|1".len());
        assert_eq!(all.len(), 3);
        for (name, text, expected) in [
            ("u.csv", "", "it is empty"),
            ("u.csv", "a,a\n1,2\n", "it has two columns \"a\""),
            (
                "u.csv",
                "a,b\n1,2\n3\n",
                "line 3 has 1 cells, where its first line has 2",
            ),
            ("u.jsonl", "\n", "it is empty"),
            ("u.jsonl", "{\"a\":1}\n[]\n", "line 2 is no JSON object"),
            ("u.jsonl", "{\"a\":1}\n{\"b\":1}\n", "line 2 has no \"a\""),
            ("u.jsonl", "{\"a\":{}}\n", "line 1: \"a\" is neither"),
        ] {
            let wrong = cells(name, text).unwrap_err();
            assert!(wrong.starts_with(expected), "{text:?}: {wrong}");
        }
    }
}
