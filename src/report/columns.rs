//! Rows of figures in columns; a list, where the terminal has no room for all columns.

use console::{measure_text_width, truncate_str};

use super::style::{Paint, Style, left, right};

/// The gap before a column that is aligned on the left.
const GAP: usize = 2;

/// Where the text of a column stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// At its left edge.
    Left,
    /// At its right edge.
    Right,
}

/// The words for a cell in a list, where no head stands above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Its head, then the cell: `p50 1.20 ms`.
    Named,
    /// The cell, then its head: `4 clients`.
    Counted,
    /// The cell alone.
    Bare,
}

/// A column but the first.
#[derive(Debug)]
struct Column {
    head: String,
    /// At least so wide, with the gap before it.
    width: usize,
    align: Align,
    listed: Listed,
}

/// Rows, each with a name in the first column.
#[derive(Debug)]
pub(crate) struct Columns {
    head: String,
    /// Width of the names, and the least that it is reduced to, in columns. A longer name has a
    /// line of its own.
    width: usize,
    least: usize,
    columns: Vec<Column>,
    rows: Vec<(String, Vec<String>)>,
}

impl Columns {
    /// Names under `head`, `width` columns wide, or down to `least` if there is no room for more.
    pub(crate) fn new(head: &str, width: usize, least: usize) -> Self {
        Self {
            head: head.to_owned(),
            width,
            least: least.min(width),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a column on the right of the others, `width` wide or as wide as it takes.
    pub(crate) fn column(&mut self, head: &str, width: usize, align: Align, listed: Listed) {
        self.columns.push(Column {
            head: head.to_owned(),
            width,
            align,
            listed,
        });
    }

    /// Adds a row: one cell per column, of texts that the terminal can show ([`Style::text`]).
    pub(crate) fn row(&mut self, name: &str, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push((name.to_owned(), cells));
    }

    /// Writes them to `out`.
    pub(crate) fn render(&self, style: Style, out: &mut String) {
        let heads = self.columns.iter();
        let heads: Vec<String> = heads
            .map(|column| style.text(&column.head).into_owned())
            .collect();
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(i, column)| {
                let cells = self.rows.iter().map(|(_, cells)| &cells[i]);
                let widest = cells
                    .chain([&heads[i]])
                    .map(|cell| measure_text_width(cell));
                let gap = match column.align {
                    Align::Left => GAP,
                    Align::Right => 1,
                };
                column.width.max(widest.max().unwrap_or(0) + gap)
            })
            .collect();
        let room = style.width.saturating_sub(widths.iter().sum());
        if room < self.least {
            self.list(&heads, style, out);
            return;
        }
        let widths = [vec![self.width.min(room)], widths].concat();
        let mut head = String::new();
        self.line(&style.text(&self.head), &heads, &widths, style, &mut head);
        for line in head.lines() {
            out.push_str(&style.paint(Paint::Strong, line));
            out.push('\n');
        }
        for (name, cells) in &self.rows {
            self.line(name, cells, &widths, style, out);
        }
    }

    fn line(&self, name: &str, cells: &[String], widths: &[usize], style: Style, out: &mut String) {
        let mut line = if measure_text_width(name) <= widths[0] {
            left(name, widths[0])
        } else {
            out.push_str(&truncate_str(name, style.width, &style.text("…")));
            out.push('\n');
            " ".repeat(widths[0])
        };
        for ((cell, width), column) in cells.iter().zip(&widths[1..]).zip(&self.columns) {
            line.push_str(&match column.align {
                Align::Left => " ".repeat(GAP) + &left(cell, width - GAP),
                Align::Right => right(cell, *width),
            });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }

    fn list(&self, heads: &[String], style: Style, out: &mut String) {
        style.conclusion(out, Paint::Strong, &self.head);
        // Short names stand in a column of their own all the same.
        let names = self.rows.iter().map(|(name, _)| measure_text_width(name));
        let widest = names.max().unwrap_or(0);
        let column = if widest <= style.width / 4 { widest } else { 0 };
        for (name, cells) in &self.rows {
            let cells = cells.iter().zip(heads).zip(&self.columns);
            let items = cells
                .filter(|((cell, _), _)| !cell.is_empty() && **cell != *style.text("–"))
                .map(|((cell, head), column)| match column.listed {
                    Listed::Named => format!("{head} {cell}"),
                    Listed::Counted if cell == "1" => format!("1 {}", head.trim_end_matches('s')),
                    Listed::Counted => format!("{cell} {head}"),
                    Listed::Bare => cell.clone(),
                });
            let indent = match column {
                0 => name.len() - name.trim_start().len() + GAP,
                column => column + GAP,
            };
            let name = truncate_str(name, style.width, &style.text("…")).into_owned();
            style.flow(out, &(left(&name, column) + "  "), indent, " · ", items);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Columns {
        let mut columns = Columns::new("latency of all", 14, 6);
        columns.column("p50", 8, Align::Right, Listed::Named);
        columns.column("samples", 9, Align::Right, Listed::Counted);
        columns.column("outcome", 0, Align::Left, Listed::Bare);
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        columns.row("ack", row(["1.20 ms", "500", "same"]));
        columns.row("  to listeners", row(["–", "51 500", "worse"]));
        columns
    }

    fn rendered(width: usize) -> String {
        let mut out = String::new();
        let style = Style {
            width,
            ..Style::FILE
        };
        sample().render(style, &mut out);
        out
    }

    #[test]
    fn with_room_it_is_a_table() {
        let table = "\
latency of all     p50  samples  outcome
ack            1.20 ms      500  same
  to listeners       –   51 500  worse
";
        assert_eq!(rendered(80), table);
        assert_eq!(rendered(40), table, "just as wide");
    }

    #[test]
    fn with_less_names_give_way_and_stand_on_lines_of_their_own() {
        let table = "\
latency of all
           p50  samples  outcome
ack    1.20 ms      500  same
  to listeners
             –   51 500  worse
";
        assert_eq!(rendered(32), table);
    }

    #[test]
    fn with_none_it_is_a_list() {
        let list = "\
latency of all
ack  p50 1.20 ms · 500 samples
  same
  to listeners  51 500 samples
    worse
";
        assert_eq!(rendered(31), list);
        // Short names stand in a column, and one of a thing is one.
        let mut short = Columns::new("group", 14, 14);
        short.column("clients", 0, Align::Right, Listed::Counted);
        short.column("does", 0, Align::Left, Listed::Bare);
        short.row("a", vec!["1".to_owned(), "listen".to_owned()]);
        short.row(
            "abcd",
            vec!["20".to_owned(), "connect, pause, publish".to_owned()],
        );
        let mut out = String::new();
        let style = Style {
            width: 30,
            ..Style::FILE
        };
        short.render(style, &mut out);
        let list = "\
group
a     1 client · listen
abcd  20 clients
      connect, pause, publish
";
        assert_eq!(out, list);
        for width in 16..80 {
            let out = rendered(width);
            for line in out.lines().filter(|line| line.trim().contains(' ')) {
                assert!(measure_text_width(line) <= width, "{width}: {line}");
            }
        }
    }
}
