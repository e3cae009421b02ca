//! Matches: what a frame is recognised by, and what is taken out of it.
//!
//! A match is a text that the whole frame is compared with, in which `*` stands for anything, or a
//! set of conditions on a frame that is JSON. In both, a name in braces whose value is known is
//! compared, and one whose value is not is captured. Key order and white space in JSON never matter.

use std::borrow::Cow;
use std::cell::OnceCell;

use memchr::memmem;
use serde_json::Value as Json;

use super::template::{NearMiss, Piece, pieces};
use super::variables::{Name, Names, Source, Values};

/// A condition on a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    form: Form,
    /// As it was written.
    written: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Text(Pattern),
    Json(Box<[Condition]>),
}

/// A condition on a value in a frame that is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    path: Box<str>,
    value: Wanted,
}

/// What a value has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// There, and not null.
    There,
    /// Absent, null or false.
    Absent,
    /// True.
    True,
    /// This number.
    Number(Number),
    /// A string that matches, or a number whose digits do.
    Text(Pattern),
}

/// A number as it is compared: as what it amounts to, not as it is written.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

/// A text with gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    tokens: Box<[Token]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(Box<str>),
    /// Anything, nothing too.
    Any,
    Name(Name),
}

/// Why a text is no match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadMatch {
    /// Names that nearly are known ones.
    NearMisses(Vec<NearMiss>),
    /// A value that is captured has another gap beside it: nothing says where it begins or ends.
    GapsTouch,
    /// It refers to the payload, by which frames are found anyway.
    Payload,
    /// It takes whatever comes.
    TakesAll,
    /// A path without a name in it, or with an empty one.
    BadPath(String),
    /// A value that nothing can be compared with.
    BadValue(String),
}

/// A value that a match compares with, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<'a> {
    /// A text, with gaps and names.
    Text(&'a str),
    /// `true` or `false`.
    Truth(bool),
    /// A number.
    Number(f64),
}

impl Match {
    /// A match of the whole frame with a text. A name that is not known becomes one that is
    /// captured.
    ///
    /// # Errors
    /// [`BadMatch`] says why it is none.
    pub fn whole(text: &str, names: &mut Names) -> Result<Self, BadMatch> {
        let pattern = Pattern::parse(text, names)?;
        if pattern.takes_all() {
            return Err(BadMatch::TakesAll);
        }
        Ok(Self {
            form: Form::Text(pattern),
            written: text.into(),
        })
    }

    /// A match of a frame that is JSON and has these values at these paths.
    ///
    /// # Errors
    /// [`BadMatch`] says why it is none.
    pub fn json<'w>(
        conditions: impl IntoIterator<Item = (&'w str, Written<'w>)>,
        names: &mut Names,
    ) -> Result<Self, BadMatch> {
        let mut all = Vec::new();
        let mut written = Vec::new();
        for (path, value) in conditions {
            if path.split('.').any(str::is_empty) {
                return Err(BadMatch::BadPath(path.to_owned()));
            }
            let shown = match &value {
                Written::Text(text) => format!("{text:?}"),
                Written::Truth(truth) => truth.to_string(),
                Written::Number(number) => number.to_string(),
            };
            written.push(format!("{path} = {shown}"));
            let value = match value {
                Written::Text("*") => Wanted::There,
                Written::Text(text) => Wanted::Text(Pattern::parse(text, names)?),
                Written::Truth(false) => Wanted::Absent,
                Written::Truth(true) => Wanted::True,
                Written::Number(number) if number.is_finite() => Wanted::Number(Number(number)),
                Written::Number(number) => return Err(BadMatch::BadValue(number.to_string())),
            };
            let path = path.into();
            all.push(Condition { path, value });
        }
        if all.is_empty() {
            return Err(BadMatch::TakesAll);
        }
        Ok(Self {
            form: Form::Json(all.into()),
            written: format!("{{ {} }}", written.join(", ")).into(),
        })
    }

    /// As it was written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether it refers to `name`.
    #[must_use]
    pub fn mentions(&self, name: Name) -> bool {
        let mentions = |pattern: &Pattern| pattern.tokens.contains(&Token::Name(name));
        match &self.form {
            Form::Text(pattern) => mentions(pattern),
            Form::Json(conditions) => conditions.iter().any(
                |condition| matches!(&condition.value, Wanted::Text(pattern) if mentions(pattern)),
            ),
        }
    }

    /// What a frame has in it, if it matches.
    #[must_use]
    pub fn find(&self, frame: &Frame<'_>, values: &Values<'_>) -> Option<Found> {
        let mut found = Found::default();
        match &self.form {
            Form::Text(pattern) => {
                let text = std::str::from_utf8(frame.bytes).ok()?;
                pattern.find(text, values, &mut found)?;
            }
            Form::Json(conditions) => {
                let json = frame.json()?;
                for Condition { path, value } in conditions {
                    let at = value_at(json, path);
                    value.find(at.as_deref(), values, &mut found)?;
                }
            }
        }
        Some(found)
    }
}

/// A frame that came, read as JSON at most once.
#[derive(Debug)]
pub struct Frame<'f> {
    /// Its bytes.
    pub bytes: &'f [u8],
    json: OnceCell<Option<Json>>,
}

impl<'f> Frame<'f> {
    /// The frame of these bytes.
    #[must_use]
    pub fn new(bytes: &'f [u8]) -> Self {
        Self {
            bytes,
            json: OnceCell::new(),
        }
    }

    fn json(&self) -> Option<&Json> {
        let json = self.json.get_or_init(|| {
            // Most of what is no JSON begins so that it need not be tried.
            let first = self.bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
            let may_be = matches!(first, b'{' | b'[' | b'"' | b'-' | b't' | b'f' | b'n')
                || first.is_ascii_digit();
            may_be
                .then(|| serde_json::from_slice(self.bytes).ok())
                .flatten()
        });
        json.as_ref()
    }
}

/// The values that a match took out of a frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The value at `{id}`, where it was not known.
    pub id: Option<String>,
    /// The value at `{room}`, where it was not known.
    pub room: Option<String>,
    /// Other variables that had no value, by their places.
    pub captured: Vec<(u16, String)>,
}

impl Found {
    /// The value of a name, as far as this frame has given it one.
    fn of(&self, name: Name) -> Option<&str> {
        match name {
            Name::Id => self.id.as_deref(),
            Name::Room => self.room.as_deref(),
            Name::Variable(at) => {
                let captured = self.captured.iter().find(|(one, _)| *one == at);
                captured.map(|(_, value)| value.as_str())
            }
            _ => None,
        }
    }

    fn take(&mut self, name: Name, value: &str) {
        match name {
            Name::Id => self.id = Some(value.to_owned()),
            Name::Room => self.room = Some(value.to_owned()),
            Name::Variable(at) => self.captured.push((at, value.to_owned())),
            _ => {}
        }
    }
}

impl Wanted {
    fn find(&self, value: Option<&Json>, values: &Values<'_>, found: &mut Found) -> Option<()> {
        let is_it = match self {
            Self::There => value.is_some_and(|value| !value.is_null()),
            Self::Absent => value.is_none_or(|v| v.is_null() || v.as_bool() == Some(false)),
            Self::True => value?.as_bool() == Some(true),
            Self::Number(number) => value?.as_f64() == Some(number.0),
            Self::Text(pattern) => {
                let text = match value? {
                    Json::String(text) => Cow::Borrowed(text.as_str()),
                    Json::Number(number) => number.to_string().into(),
                    _ => return None,
                };
                return pattern.find(&text, values, found);
            }
        };
        is_it.then_some(())
    }
}

/// The value at a path. Its steps are keys of objects and places in arrays; one that goes on into a
/// string reads that as JSON. A key that has dots in it is found as well.
fn value_at<'j>(json: &'j Json, path: &str) -> Option<Cow<'j, Json>> {
    if path.is_empty() {
        return Some(Cow::Borrowed(json));
    }
    match json {
        Json::Object(object) => {
            let ends = path.match_indices('.').map(|(at, _)| at);
            ends.chain([path.len()]).find_map(|end| {
                let rest = path.get(end + 1..).unwrap_or("");
                value_at(object.get(&path[..end])?, rest)
            })
        }
        Json::Array(array) => {
            let (place, rest) = path.split_once('.').unwrap_or((path, ""));
            value_at(array.get(place.parse::<usize>().ok()?)?, rest)
        }
        Json::String(text) => {
            let inner: Json = serde_json::from_str(text).ok()?;
            value_at(&inner, path).map(|value| Cow::Owned(value.into_owned()))
        }
        _ => None,
    }
}

impl Pattern {
    fn parse(text: &str, names: &mut Names) -> Result<Self, BadMatch> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut wrong = Vec::new();
        for piece in pieces(text) {
            match piece {
                Piece::Hole { name, at } => {
                    let known = match names.find(name) {
                        Some(Name::Payload) => return Err(BadMatch::Payload),
                        Some(known) => known,
                        None => match names.near_miss(name, at) {
                            Some(miss) => {
                                wrong.push(miss);
                                continue;
                            }
                            None => names.define(name, Source::Captured, false),
                        },
                    };
                    tokens.push(Token::Name(known));
                }
                Piece::Text(text) => {
                    for (nth, between) in text.split('*').enumerate() {
                        if nth > 0 && tokens.last() != Some(&Token::Any) {
                            tokens.push(Token::Any);
                        }
                        if !between.is_empty() {
                            tokens.push(Token::Text(between.into()));
                        }
                    }
                }
            }
        }
        if !wrong.is_empty() {
            return Err(BadMatch::NearMisses(wrong));
        }
        // A number ends where its digits do, and a value that is known is as long as it is.
        let is_captured = |token: &Token| match token {
            Token::Name(name) => matches!(names.source(*name), Some(Source::Captured)),
            Token::Any | Token::Text(_) => false,
        };
        let is_text = |token: &Token| matches!(token, Token::Text(_));
        for two in tokens.windows(2) {
            if two.iter().any(is_captured) && !two.iter().any(is_text) {
                return Err(BadMatch::GapsTouch);
            }
        }
        Ok(Self {
            tokens: tokens.into(),
        })
    }

    /// Whether it matches every text.
    fn takes_all(&self) -> bool {
        matches!(
            &*self.tokens,
            [Token::Any] | [Token::Name(Name::Variable(_))]
        )
    }

    /// Takes the values out of a text that matches. Where it does not, `found` is of no use.
    fn find(&self, text: &str, values: &Values<'_>, found: &mut Found) -> Option<()> {
        // A gap of any kind that has to be tried again longer: that a later one is right is enough,
        // since it may take whatever an earlier one could.
        let mut retry: Option<(usize, usize, Found)> = None;
        let (mut token, mut at) = (0, 0);
        loop {
            let rest = &text[at..];
            let went = match self.tokens.get(token) {
                None if rest.is_empty() => return Some(()),
                None => None,
                Some(Token::Any) => {
                    retry = Some((token, at, found.clone()));
                    Some(0)
                }
                Some(Token::Text(wanted)) => rest.starts_with(&**wanted).then_some(wanted.len()),
                Some(Token::Name(name)) => self.value(token, *name, rest, values, found),
            };
            if let Some(length) = went {
                (token, at) = (token + 1, at + length);
                continue;
            }
            // The last gap takes one character more, or as many as the text after it is away.
            let (gap, from, before) = retry.as_mut()?;
            let step = text[*from..].chars().next()?.len_utf8();
            let next = *from + step;
            *from = match self.tokens.get(*gap + 1) {
                Some(Token::Text(wanted)) => {
                    next + memmem::find(&text.as_bytes()[next..], wanted.as_bytes())?
                }
                None => text.len(),
                Some(_) => next,
            };
            found.clone_from(before);
            (token, at) = (*gap + 1, *from);
        }
    }

    /// The length of what `name` stands for at the beginning of `rest`.
    fn value(
        &self,
        token: usize,
        name: Name,
        rest: &str,
        values: &Values<'_>,
        found: &mut Found,
    ) -> Option<usize> {
        let known = values.of(name);
        if let Some(known) = known.as_deref().or_else(|| found.of(name)) {
            let after = rest.strip_prefix(known)?;
            // Where any text may follow, `room-1` is not to be found in `room-12`.
            let may_go_on = !matches!(self.tokens.get(token + 1), Some(Token::Text(_)));
            let goes_on = may_go_on && after.starts_with(char::is_alphanumeric);
            return (!goes_on).then_some(known.len());
        }
        let length = match (name, self.tokens.get(token + 1)) {
            (Name::Id, _) => rest.bytes().take_while(u8::is_ascii_digit).count(),
            (_, Some(Token::Text(next))) => memmem::find(rest.as_bytes(), next.as_bytes())?,
            (_, _) => rest.len(),
        };
        if length == 0 {
            return None; // a value is not empty
        }
        found.take(name, &rest[..length]);
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.define("token", Source::Constant("t0k".into()), true);
        names
    }

    fn values(names: &Names) -> Values<'_> {
        Values {
            room: Some("lobby"),
            ..Values::of_client(names, "talkers-3")
        }
    }

    /// What a text match takes out of a frame: `{id}`, then what it captures.
    fn of_text(written: &str, frame: &str) -> Option<String> {
        let mut names = names();
        let one = Match::whole(written, &mut names).unwrap();
        let found = one.find(&Frame::new(frame.as_bytes()), &values(&names))?;
        Some(shown(&names, &found))
    }

    fn shown(names: &Names, found: &Found) -> String {
        let mut all: Vec<String> = found.id.iter().map(|id| format!("id={id}")).collect();
        for (at, value) in &found.captured {
            all.push(format!("{}={value}", names.name(Name::Variable(*at))));
        }
        all.join(" ")
    }

    fn of_json(conditions: &[(&str, Written<'_>)], frame: &str) -> Option<String> {
        let mut names = names();
        let one = Match::json(conditions.iter().cloned(), &mut names).unwrap();
        let found = one.find(&Frame::new(frame.as_bytes()), &values(&names))?;
        Some(shown(&names, &found))
    }

    #[test]
    fn texts_are_compared_whole_but_for_their_gaps() {
        for (written, frame, expected) in [
            ("2", "2", Some("")),
            ("2", "23", None),
            ("0{*", r#"0{"sid":"x"}"#, Some("")),
            ("0{*", r#"40{"sid":"x"}"#, None),
            ("43{id}[*", r#"4312["ok"]"#, Some("id=12")),
            ("43{id}[*", r#"43["ok"]"#, None),
            ("43{id}[*", r#"43x["ok"]"#, None),
            ("*id={id};*", "id=x;id=7;", Some("id=7")),
            ("*a*b*c", "xxaabbabcbc", Some("")),
            ("*ab", "abab", Some("")),
            ("*ab", "aba", None),
            ("a*", "a", Some("")),
            ("*a*", "bab", Some("")),
            ("sid={sid},", "sid=q-1,", Some("sid=q-1")),
            ("sid={sid},", "sid=,", None),
            ("{sid}!", "ü!", Some("sid=ü")),
            ("{x}-{x}", "ab-ab", Some("x=ab")),
            ("{x}-{x}", "ab-ac", None),
            ("join {room}", "join lobby", Some("")),
            ("join {room}", "join hall", None),
            ("{token} {client}", "t0k talkers-3", Some("")),
            ("*366*{room}*", ":x 366 a #lobby :End", Some("")),
            ("*366*{room}*", ":x 366 a #hall :End", None),
            ("*{room}*", "joined lobby2", None),
            ("*{room}*", "joined lobby2 lobby.", Some("")),
            ("*{id}", "PONG 12", Some("id=12")),
            ("é*é", "éüé", Some("")),
            ("", "", Some("")),
        ] {
            let found = of_text(written, frame);
            assert_eq!(found.as_deref(), expected, "{written} on {frame}");
        }
    }

    #[test]
    fn json_is_compared_by_paths_whatever_its_order_and_spaces() {
        use Written::{Number, Text, Truth};
        let reply = r#" ["a", "1" ,"room:a","phx_reply", {"response":{}, "status":"ok"}]"#;
        let pusher = r#"{"event":"e","data":"{\"socket_id\":\"12.3\",\"n\":30}"}"#;
        for (conditions, frame, expected) in [
            (&[("type", Text("ok"))][..], r#"{"type":"ok"}"#, Some("")),
            (&[("type", Text("ok"))], r#"{"type":"no"}"#, None),
            (&[("type", Text("ok"))], r#"{"a":1,"type" :"ok"}"#, Some("")),
            (&[("type", Text("ok"))], r#"{"type":"ok""#, None),
            (&[("type", Text("ok"))], "ok", None),
            (&[("id", Text("{id}"))], r#"{"id":7}"#, Some("id=7")),
            (&[("id", Text("{id}"))], r#"{"id":"7"}"#, Some("id=7")),
            (&[("id", Text("{id}"))], r#"{"id":null}"#, None),
            (
                &[("1", Text("{id}")), ("4.status", Text("ok"))],
                reply,
                Some("id=1"),
            ),
            (
                &[("1", Text("{id}")), ("4.status", Text("error"))],
                reply,
                None,
            ),
            (&[("9", Text("*"))], reply, None),
            (
                &[("data.socket_id", Text("{s}")), ("data.n", Number(30.0))],
                pusher,
                Some("s=12.3"),
            ),
            (&[("data.missing", Text("*"))], pusher, None),
            (&[("error", Text("*"))], r#"{"error":{"code":1}}"#, Some("")),
            (&[("error", Text("*"))], r#"{"error":null}"#, None),
            (&[("error", Truth(false))], r#"{"error":null}"#, Some("")),
            (&[("error", Truth(false))], r#"{"error":false}"#, Some("")),
            (&[("error", Truth(false))], "{}", Some("")),
            (&[("error", Truth(false))], r#"{"error":0}"#, None),
            (&[("ok", Truth(true))], r#"{"ok":true}"#, Some("")),
            (&[("ok", Truth(true))], r#"{"ok":"true"}"#, None),
            (&[("type", Number(3.0))], r#"{"type":3}"#, Some("")),
            (&[("type", Number(3.0))], r#"{"type":3.0}"#, Some("")),
            (&[("type", Number(3.0))], r#"{"type":"3"}"#, None),
            (&[("a.b", Text("1"))], r#"{"a.b":1}"#, Some("")),
            (
                &[("a.b.c", Text("1"))],
                r#"{"a":{"x":1},"a.b":{"c":1}}"#,
                Some(""),
            ),
            (
                &[("text", Text("Hello *"))],
                r#"{"text":"Hello \u00fc"}"#,
                Some(""),
            ),
            (&[("room", Text("{room}"))], r#"{"room":"lobby"}"#, Some("")),
            (&[("room", Text("{room}"))], r#"{"room":"hall"}"#, None),
            (&[("0", Text("a"))], r#"{"0":"a"}"#, Some("")),
        ] {
            let found = of_json(conditions, frame);
            assert_eq!(found.as_deref(), expected, "{conditions:?} on {frame}");
        }
    }

    #[test]
    fn what_could_not_be_told_or_takes_everything_is_no_match() {
        let whole = |written| Match::whole(written, &mut names()).unwrap_err();
        assert_eq!(whole("*"), BadMatch::TakesAll);
        assert_eq!(whole("**"), BadMatch::TakesAll);
        assert_eq!(whole("{anything}"), BadMatch::TakesAll);
        assert_eq!(whole("a{id}{sid}"), BadMatch::GapsTouch);
        assert_eq!(whole("a*{sid}"), BadMatch::GapsTouch);
        assert_eq!(whole("a {payload}"), BadMatch::Payload);
        assert!(matches!(whole("a {tokne}"), BadMatch::NearMisses(all) if all[0].meant == "token"));
        let json = |path, value| Match::json([(path, value)], &mut names()).unwrap_err();
        assert_eq!(
            json("a..b", Written::Text("")),
            BadMatch::BadPath("a..b".into())
        );
        assert!(matches!(
            json("a", Written::Number(f64::NAN)),
            BadMatch::BadValue(_)
        ));
        assert_eq!(Match::json([], &mut names()), Err(BadMatch::TakesAll));
    }

    /// Whether `text` is what `pattern` makes of it: every way to fill the gaps is tried.
    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|n| glob(rest, &text[n..])),
            [one, rest @ ..] => text.first() == Some(one) && glob(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn gaps_are_filled_if_they_can_be(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = glob(pattern.as_bytes(), text.as_bytes());
            if let Ok(one) = Match::whole(&pattern, &mut names()) {
                let names = names();
                let found = one.find(&Frame::new(text.as_bytes()), &values(&names));
                prop_assert_eq!(found.is_some(), expected);
            }
        }

        #[test]
        fn what_was_filled_in_is_captured(id in 0..u64::MAX, sid in "[a-z.0-9]{1,12}") {
            let frame = format!("4{id}[\"{sid}\",\"x\"]");
            let expected = format!("id={id} sid={sid}");
            prop_assert_eq!(of_text("4{id}[\"{sid}\"*", &frame), Some(expected.clone()));
            let frame = format!("{{\"b\":[1,{{\"s\":{sid:?}}}], \"id\" : {id}}}");
            let found = of_json(&[("id", Written::Text("{id}")), ("b.1.s", Written::Text("{sid}"))], &frame);
            prop_assert_eq!(found, Some(expected));
        }

        #[test]
        fn no_frame_makes_a_match_panic(frame in prop::collection::vec(any::<u8>(), 0..80), written in "[a{id}*\\[é]{0,12}") {
            let mut names = names();
            let frame = Frame::new(&frame);
            if let Ok(one) = Match::whole(&written, &mut names) {
                let _ = one.find(&frame, &values(&names));
            }
            let one = Match::json([("a.0", Written::Text("*x{y}z"))], &mut names).unwrap();
            let _ = one.find(&frame, &values(&names));
        }
    }
}
