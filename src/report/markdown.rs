//! Text in Markdown, as GitHub reads it: text from elsewhere is escaped.

use crate::terminal::{escape, is_visible, visible};

/// Formats `text` as inline code, outside of tables: nothing in it is markup, not even a line's
/// end, and nobody is mentioned.
pub(super) fn code(text: &str) -> String {
    let text = visible(text).replace('`', "'");
    format!("`{text}`")
}

/// Formats `text` as plain words: no emphasis, link, element, table cell or mention results from
/// it.
pub(super) fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_visible(c) => escaped.extend(escape(c)),
            '@' => escaped.push_str("@<!-- -->"), // a reference would still mention
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&'
            | '!' | '$' => escaped.push_str(&format!("&#{};", u32::from(c))),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_no_end_but_its_own() {
        assert_eq!(code("results/base"), "`results/base`");
        assert_eq!(code("a`b|c\nd\u{202e}"), "`a'b|c\\nd\\u{202e}`");
    }

    #[test]
    fn plain_words_are_no_markup() {
        assert_eq!(plain("relay p99.9, talkers-1"), "relay p99.9, talkers-1");
        assert_eq!(
            plain("**x** <img src=a> [l](u) | @who `c` #1\n"),
            "&#42;&#42;x&#42;&#42; &#60;img src=a&#62; &#91;l&#93;(u) &#124; @<!-- -->who \
             &#96;c&#96; &#35;1\\n"
        );
    }
}
