//! Violations in words: each kind with its count, its rule and its first examples.

use super::figures;
use super::result::Violations;
use super::style::{Paint, Style, right};
use crate::verify::findings::Example;

/// Examples shown of each kind of violation; the JSON result has up to a hundred.
const EXAMPLES_SHOWN: usize = 3;

/// Columns of the moment before an example, and so its indent.
const MOMENT: usize = 12;

/// Writes a paragraph per kind to `out`, each after a blank line; nothing if there are none.
pub(super) fn render(violations: &[Violations], style: Style, out: &mut String) {
    for kind in violations {
        out.push('\n');
        render_kind(kind, style, out);
    }
}

fn render_kind(kind: &Violations, style: Style, out: &mut String) {
    let paint = if kind.fails() {
        Paint::Bad
    } else {
        Paint::Doubt
    };
    let mut items = vec![style.paint(paint, &kind.kind), figures::count(kind.count)];
    // Some kinds break a bound that the scenario sets, and no rule of the protocol.
    if kind.rule != "–" {
        items.push(format!("rule {}", style.text(&kind.rule)));
    }
    if !kind.fails() {
        items.push(format!("counts as {}", kind.counts_as));
    }
    style.flow(out, "", 2, " · ", items);
    if let Some(words) = rule_in_words(&kind.rule) {
        style.paragraph(out, &" ".repeat(MOMENT), MOMENT, words);
    }
    for example in kind.examples.iter().take(EXAMPLES_SHOWN) {
        let head = format!("{}  ", right(&figures::moment(example.at_ns), MOMENT - 2));
        style.paragraph(out, &head, MOMENT, &in_words(example));
    }
    let shown = kind.examples.len().min(EXAMPLES_SHOWN) as u64;
    if kind.count > shown {
        let more = format!(
            "… and {} more; the JSON result has the first {}",
            figures::count(kind.count - shown),
            kind.examples.len(),
        );
        style.paragraph(out, &" ".repeat(MOMENT), MOMENT, &more);
    }
}

/// A rule of `docs/PROTOCOL.md` in words: what the target owed.
fn rule_in_words(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "F1" => "owed: what the dialect has and nothing else: whole lines of JSON, or whole texts",
        "S1" => "owed: the numbers 1, 2, 3, … without gap, each given to one message",
        "S2" => "owed: every message from when the client joined, once each, in order",
        "S3" => "owed: an ack to who sent the message, a relay to everyone else, and no more",
        "S4" => "owed: the same messages in the same order to everyone",
        "S5" => "owed: one client's messages relayed, and acked, in the order it sent them",
        "S6" => "owed: the message that was published, to the letter, and no other",
        "S7" => "owed: the address that the sender really connected from",
        "S8" => "owed: a message sent after another was seen or acked comes after it",
        "S9" => "owed: nothing but the error, where a frame was refused with one",
        "S10" => "owed: what was acked reaches everyone who is present",
        "S11" => "owed: a connection that lasts, to a client that does nothing wrong",
        "J1" => {
            "owed: a welcome first, where there is one, and nothing from before the client joined"
        }
        "J2" => "owed: to a client that half-closes, the rest, and a bye that counts to its end",
        "R6" => "owed: what is published in a room to the members of that room, and to nobody else",
        "§6" => "owed: an error to who sent a frame that is refused, and to nobody else",
        _ => return None,
    })
}

/// An example in words: its own, and whatever of sender, message, receiver and number they leave
/// out.
fn in_words(example: &Example) -> String {
    let sender = example.sender.as_ref().map(|sender| match example.k {
        Some(k) => (sender.clone(), format!("{sender} message {k}")),
        None => (sender.clone(), sender.clone()),
    });
    let receiver = example
        .receiver
        .as_ref()
        .map(|r| (r.clone(), format!("receiver {r}")));
    let seq = example
        .seq
        .map(|seq| (seq.to_string(), format!("number {seq}")));
    let unsaid: Vec<_> = [sender, receiver, seq]
        .into_iter()
        .flatten()
        .filter(|(name, _)| !says(&example.text, name))
        .map(|(_, words)| words)
        .collect();
    if unsaid.is_empty() {
        return example.text.clone();
    }
    format!("{} ({})", example.text, unsaid.join(", "))
}

/// Whether `name` stands in `text` as a word of its own: `talkers-1` is not in `talkers-17`.
fn says(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Verdict, sample};
    use crate::verify::findings::{Findings, Tally};
    use crate::verify::kind::Kind;

    #[test]
    fn an_example_says_everything_and_nothing_twice() {
        let bare = Example {
            text: "lost".to_owned(),
            ..sample::example()
        };
        assert_eq!(
            in_words(&bare),
            "lost (talkers-3 message 88, receiver listeners-17, number 351)"
        );
        assert_eq!(in_words(&sample::example()), sample::example().text);
        let near = Example {
            text: "talkers-31 and listeners-17 at 351".to_owned(),
            ..sample::example()
        };
        assert!(
            in_words(&near).ends_with("(talkers-3 message 88)"),
            "{}",
            in_words(&near)
        );
    }

    #[test]
    fn a_kind_that_breaks_no_rule_of_the_protocol_names_none() {
        let mut findings = Findings::default();
        findings.violation(Kind::LateRelay, sample::example);
        findings.violation(Kind::MissingError, sample::example);
        let violations = Violations::all(&findings, Verdict::Fail);
        let mut out = String::new();
        render(&violations, Style::FILE, &mut out);
        assert!(out.contains("\nlate-relay · 1\n   4.211 s"), "{out}");
        assert!(out.contains("\nmissing-error · 1 · rule §6\n"), "{out}");
    }

    #[test]
    fn every_rule_has_its_words() {
        for kind in Kind::ALL.iter().filter(|kind| kind.rule() != "–") {
            assert!(rule_in_words(kind.rule()).is_some(), "{kind}");
        }
    }

    #[test]
    fn a_tally_without_violations_is_not_shown() {
        let mut findings = Findings::default();
        let nothing = Tally::default();
        findings.violations.insert(Kind::LostRelay, nothing);
        assert!(Violations::all(&findings, Verdict::Fail).is_empty());
    }
}
