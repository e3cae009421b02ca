//! Errors and warnings about a scenario, shown at the lines that they are about.
//!
//! A scenario comes from several texts: the file, and each `--set` argument. They are laid end to
//! end in one space of byte offsets, so a [`Span`] is enough to point into any of them, and a
//! message can point at a line of the file and at an argument at once.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use console::strip_ansi_codes;

use crate::terminal::{narrowed, visible, visible_lines, visible_lines_offset};

/// Where in the texts: byte offsets, the texts laid end to end.
pub type Span = Range<usize>;

/// Everything found in one scenario: errors, which keep it from being run, and warnings.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    sources: Sources,
    list: Vec<Diagnostic>,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    title: String,
    /// The first is what it is about, the rest is what it clashes with.
    labels: Vec<(Span, String)>,
    helps: Vec<String>,
}

/// The most diagnostics kept of one scenario. Nobody reads more, and each is shown with the lines
/// it is about.
const MAX_SHOWN: usize = 50;

/// The most characters of a title or a label, and of a help: keys and values of a file may be of any
/// length.
const TITLE_CHARS: usize = 400;
const HELP_CHARS: usize = 2000;

/// Whether a scenario can be run all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is run.
    Error,
    /// It is run.
    Warning,
}

/// The texts a scenario came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug, Clone)]
struct Source {
    name: String,
    text: String,
    base: usize,
}

/// Where a diagnostic points, as people count: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file's path, or `command line`.
    pub source: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Diagnostic {
    pub(super) fn error(title: impl Into<String>) -> Self {
        Self::new(Severity::Error, &title.into())
    }

    pub(super) fn warning(title: impl Into<String>) -> Self {
        Self::new(Severity::Warning, &title.into())
    }

    fn new(severity: Severity, title: &str) -> Self {
        Self {
            severity,
            title: excerpt(title, TITLE_CHARS).into_owned(),
            labels: Vec::new(),
            helps: Vec::new(),
        }
    }

    /// Points at a place. The first is where the diagnostic is.
    pub(super) fn at(mut self, span: &Span, label: impl Into<String>) -> Self {
        let label = excerpt(&label.into(), TITLE_CHARS).into_owned();
        self.labels.push((span.clone(), label));
        self
    }

    /// Adds what to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.helps
            .push(excerpt(&help.into(), HELP_CHARS).into_owned());
        self
    }

    /// Whether it keeps the scenario from being run.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The problem in one line that names the key.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }
}

impl Diagnostics {
    /// Puts `list` into the order of the texts.
    pub(super) fn new(sources: Sources, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|d| d.labels.first().map_or(usize::MAX, |(span, _)| span.start));
        if list.len() > MAX_SHOWN {
            let more = list.split_off(MAX_SHOWN);
            let severity = more.iter().map(|d| d.severity).min_by_key(|s| *s as u8);
            let title = format!("{} more of these", more.len());
            list.push(Diagnostic::new(severity.unwrap_or(Severity::Error), &title));
        }
        Self { sources, list }
    }

    /// An error about a file that could not even be read.
    pub fn unreadable(title: impl Into<String>) -> Self {
        Self::new(Sources::default(), vec![Diagnostic::error(title)])
    }

    /// Whether one of them keeps the scenario from being run.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each of them, in the order of the texts.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Where `diagnostic` points, if it is about a place at all.
    #[must_use]
    pub fn position(&self, diagnostic: &Diagnostic) -> Option<Position> {
        let (span, _) = diagnostic.labels.first()?;
        let source = self.sources.of(span);
        let before = &source.text[..source.local(span).start];
        let line_start = before.rfind('\n').map_or(0, |lf| lf + 1);
        Some(Position {
            source: source.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        })
    }

    /// All of them with the lines they are about, in colour if the terminal takes it.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        self.rendered(&renderer(colour))
    }

    /// The same for a terminal of so many columns: lines of a source are cut to them, what is said
    /// about them is broken between words.
    #[must_use]
    pub fn render_within(&self, colour: bool, columns: usize) -> String {
        let page = self.rendered(&renderer(colour).term_width(columns));
        let page = narrowed(&page, columns, indent);
        page.trim_end_matches('\n').to_owned()
    }

    fn rendered(&self, renderer: &Renderer) -> String {
        let shown = self.visible();
        let rendered: Vec<String> = shown
            .list
            .iter()
            .map(|diagnostic| renderer.render(&[shown.group(diagnostic)]))
            .collect();
        rendered.join("\n\n")
    }

    /// The same with every text made safe for a terminal, and the spans adjusted to it.
    fn visible(&self) -> Cow<'_, Self> {
        let is_visible = |text: &str| matches!(visible(text), Cow::Borrowed(_));
        let is_clean = self.sources.0.iter().all(|source| {
            is_visible(&source.name) && matches!(visible_lines(&source.text), Cow::Borrowed(_))
        }) && self.list.iter().all(|diagnostic| {
            let labels = diagnostic.labels.iter().map(|(_, label)| label);
            let mut texts = labels.chain(&diagnostic.helps).chain([&diagnostic.title]);
            texts.all(|text| is_visible(text))
        });
        if is_clean {
            return Cow::Borrowed(self);
        }
        let mut sources = Sources::default();
        for source in &self.sources.0 {
            sources.add(&visible(&source.name), &visible_lines(&source.text));
        }
        let place = |at: usize, source: &Source, shown: &Source| {
            shown.base + visible_lines_offset(&source.text, at)
        };
        let list = self.list.iter().map(|diagnostic| {
            let labels = diagnostic.labels.iter().map(|(span, label)| {
                let source = self.sources.of(span);
                let shown = &sources.0[self.sources.index_of(span)];
                let local = source.local(span);
                let span = place(local.start, source, shown)..place(local.end, source, shown);
                (span, visible(label).into_owned())
            });
            Diagnostic {
                severity: diagnostic.severity,
                title: visible(&diagnostic.title).into_owned(),
                labels: labels.collect(),
                helps: diagnostic
                    .helps
                    .iter()
                    .map(|help| visible(help).into_owned())
                    .collect(),
            }
        });
        Cow::Owned(Self {
            list: list.collect(),
            sources: sources.clone(),
        })
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        // The text with the first label comes first.
        let mut snippets: Vec<(&Source, Vec<Annotation<'a>>)> = Vec::new();
        for (i, (span, label)) in diagnostic.labels.iter().enumerate() {
            let source = self.sources.of(span);
            let kind = if i == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let label = (!label.is_empty()).then_some(label.as_str());
            let annotation = kind.span(source.local(span)).label(label);
            match snippets.iter_mut().find(|(s, _)| s.base == source.base) {
                Some((_, annotations)) => annotations.push(annotation),
                None => snippets.push((source, vec![annotation])),
            }
        }
        let snippets = snippets.into_iter().map(|(source, annotations)| {
            Snippet::source(source.text.as_str())
                .path(source.name.as_str())
                .annotations(annotations)
        });
        let helps = diagnostic
            .helps
            .iter()
            .map(|help| Level::HELP.message(help.as_str()));
        Group::with_title(level.primary_title(diagnostic.title.as_str()))
            .elements(snippets)
            .elements(helps)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl Sources {
    /// Appends a text, and returns the offset of its beginning in the common space of offsets.
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        // One more than its length: the end of one text is not the start of the next.
        let base = self.0.last().map_or(0, |s| s.base + s.text.len() + 1);
        self.0.push(Source {
            name: name.to_owned(),
            text: text.to_owned(),
            base,
        });
        base
    }

    fn of(&self, span: &Span) -> &Source {
        &self.0[self.index_of(span)]
    }

    fn index_of(&self, span: &Span) -> usize {
        self.0.partition_point(|s| s.base <= span.start) - 1
    }
}

impl Source {
    fn local(&self, span: &Span) -> Range<usize> {
        let clamp = |at: usize| (at - self.base).min(self.text.len());
        clamp(span.start)..clamp(span.end)
    }
}

const fn renderer(colour: bool) -> Renderer {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.decor_style(DecorStyle::Ascii)
}

/// The indent of a wrapped line's continuation: beneath the line's text, beside the column of line
/// numbers.
fn indent(line: &str) -> usize {
    let plain = strip_ansi_codes(line);
    let rule = plain.find(|c: char| !c.is_ascii_digit() && c != ' ');
    match rule {
        Some(at) if at > 0 && plain[at..].starts_with(['|', '=']) => at + 2,
        _ => 2,
    }
}

/// The beginning of a text that may be of any length, for a message.
pub(super) fn excerpt(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => text.into(),
        Some((at, _)) => format!("{}…", &text[..at]).into(),
    }
}

/// The one of `known` that `word` was probably meant to be.
///
/// Jaro-Winkler, since typos keep the beginning; 0.8 takes `durration` for `duration` and
/// `deliverd` for `delivered`, and does not take `size` for `stages`.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::is_visible;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "x = 1\nä = \"ö\" # ü\n");
        let argument = sources.add("command line", "--set a=1");
        let at = |offset: usize| Diagnostic::error("").at(&(offset..offset + 1), "");
        let diagnostics = Diagnostics::new(
            sources,
            vec![at(file), at(file + 11), at(argument), at(argument + 6)],
        );
        let positions: Vec<_> = diagnostics
            .iter()
            .map(|d| {
                let Position {
                    source,
                    line,
                    column,
                } = diagnostics.position(d).unwrap();
                format!("{source}:{line}:{column}")
            })
            .collect();
        assert_eq!(
            positions,
            [
                "a.toml:1:1",
                "a.toml:2:5",
                "command line:1:1",
                "command line:1:7"
            ]
        );
    }

    #[test]
    fn a_scenario_from_elsewhere_cannot_drive_the_terminal_and_is_pointed_at_all_the_same() {
        let text = "x\u{202e} = \"\x1b[2J\u{9b}\"\nrate = 1 # \u{2066}\n";
        let mut sources = Sources::default();
        let file = sources.add("a\x1b.toml", text);
        let rate = file + text.find("rate").unwrap();
        let unknown = Diagnostic::error("no such key: x\u{202e}")
            .at(&(file..file + 4), "here\u{7}")
            .help("remove \u{9b}");
        let late = Diagnostic::warning("rate").at(&(rate..rate + 4), "this");
        let diagnostics = Diagnostics::new(sources, vec![unknown, late]);
        let shown = diagnostics.render(false);
        assert!(shown.chars().all(|c| c == '\n' || is_visible(c)), "{shown}");
        for line in [
            r"error: no such key: x\u{202e}",
            r"--> a\u{1b}.toml:1:1",
            r#"1 | x\u{202e} = "\u{1b}[2J\u{9b}""#,
            r"  | ^^^^^^^^^ here\u{7}",
            r"  = help: remove \u{9b}",
            r"--> a\u{1b}.toml:2:1",
            r"2 | rate = 1 # \u{2066}",
            r"  | ^^^^ this",
        ] {
            assert!(shown.contains(line), "{line}\n{shown}");
        }
    }

    #[test]
    fn on_a_narrow_terminal_what_is_said_is_broken_between_words() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "rate = 1\n");
        let rate = Diagnostic::error("`rate` and `in_flight` exclude each other")
            .at(
                &(file..file + 4),
                "a closed loop goes by acks, so this is one too many",
            )
            .help("leave one of them out");
        let shown = Diagnostics::new(sources, vec![rate]).render_within(false, 24);
        let expected = "\
error: `rate` and
  `in_flight` exclude
  each other
 --> a.toml:1:1
  |
1 | rate = 1
  | ^^^^ a closed loop
    goes by acks, so
    this is one too many
  |
  = help: leave one of
    them out";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_typo_finds_its_word_and_another_word_none() {
        let keys = ["duration", "drain", "stages", "payload", "delivered"];
        let nearest = |word| nearest(word, keys);
        assert_eq!(nearest("durration"), Some("duration"));
        assert_eq!(nearest("Dration"), Some("duration"));
        assert_eq!(nearest("deliverd"), Some("delivered"));
        assert_eq!(nearest("drian"), Some("drain"));
        assert_eq!(nearest("size"), None);
        assert_eq!(nearest("x"), None);
    }
}
