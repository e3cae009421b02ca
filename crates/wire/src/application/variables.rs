//! The values that templates and matches refer to by name.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::template::{NearMiss, Template};

/// A name that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The text of the message that is published.
    Payload,
    /// A number that counts up per connection, over steps and publishes.
    Id,
    /// The client's name: `talkers-3`.
    Client,
    /// The name of its group: `talkers`.
    Group,
    /// Its number in its group, from 1 on.
    N,
    /// The room that a step or a publish is about.
    Room,
    /// The number of the run.
    Run,
    /// One that the scenario defines, or that a match captures.
    Variable(u16),
}

/// The names that are known without being defined.
const OWN: [(&str, Name); 7] = [
    ("payload", Name::Payload),
    ("id", Name::Id),
    ("client", Name::Client),
    ("group", Name::Group),
    ("n", Name::N),
    ("room", Name::Room),
    ("run", Name::Run),
];

/// The names of one description of a protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    variables: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: Box<str>,
    source: Source,
    is_secret: bool,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The same for all clients.
    Constant(Box<str>),
    /// A column of the client's row in the table of users.
    Column(usize),
    /// Made of other values.
    Computed(Computed),
    /// Taken out of a frame by a match.
    Captured,
}

/// How a value is made of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Computed {
    /// As the text stands.
    Text(Template),
    /// Its HMAC-SHA256 under a key, in hexadecimal digits.
    HmacSha256 {
        /// The text.
        of: Template,
        /// The key.
        key: Template,
    },
    /// In base64.
    Base64(Template),
    /// Percent-encoded, as a part of a URL.
    Url(Template),
    /// As the inside of a JSON string.
    Json(Template),
}

impl Computed {
    /// The templates that it is made of.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (first, second) = match self {
            Self::HmacSha256 { of, key } => (of, Some(key)),
            Self::Text(of) | Self::Base64(of) | Self::Url(of) | Self::Json(of) => (of, None),
        };
        [first].into_iter().chain(second)
    }
}

/// Characters of a name from which on one mistake makes it a near miss; and two, from the second
/// on. A shorter one is told by its case alone: too many words are one letter away from `id`.
const ONE_MISTAKE_CHARS: usize = 4;
const TWO_MISTAKES_CHARS: usize = 6;

impl Names {
    /// Defines a variable; one of this name that is there already is another from here on.
    pub fn define(&mut self, name: &str, source: Source, is_secret: bool) -> Name {
        let variable = Variable {
            name: name.into(),
            source,
            is_secret,
        };
        match self.position(name) {
            Some(at) => {
                self.variables[at] = variable;
                Name::Variable(at as u16)
            }
            None => {
                self.variables.push(variable);
                Name::Variable((self.variables.len() - 1) as u16)
            }
        }
    }

    /// The name, if it is known.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Name> {
        let own = OWN.iter().find(|(own, _)| *own == name);
        own.map(|(_, name)| *name)
            .or_else(|| self.position(name).map(|at| Name::Variable(at as u16)))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|one| &*one.name == name)
    }

    /// A name as it is written.
    #[must_use]
    pub fn name(&self, name: Name) -> &str {
        match name {
            Name::Variable(at) => &self.variables[usize::from(at)].name,
            own => OWN
                .iter()
                .find(|(_, one)| *one == own)
                .map_or("", |own| own.0),
        }
    }

    /// The source of a variable; `None` for a name of another kind.
    #[must_use]
    pub fn source(&self, name: Name) -> Option<&Source> {
        match name {
            Name::Variable(at) => Some(&self.variables[usize::from(at)].source),
            _ => None,
        }
    }

    /// Every known name, as it is written.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let variables = self.variables.iter().map(|one| &*one.name);
        OWN.iter().map(|(name, _)| *name).chain(variables)
    }

    /// How many variables there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.variables.len()
    }

    /// Whether there are no variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// The known name that `name`, which is none, was probably meant to be.
    #[must_use]
    pub fn near_miss(&self, name: &str, at: Range<usize>) -> Option<NearMiss> {
        let mistakes = |known: &str| {
            if known.eq_ignore_ascii_case(name) {
                return Some(0);
            }
            let allowed = match known.chars().count() {
                ..ONE_MISTAKE_CHARS => return None,
                ONE_MISTAKE_CHARS..TWO_MISTAKES_CHARS => 1,
                _ => 2,
            };
            let distance = strsim::osa_distance(known, name);
            (distance <= allowed).then_some(distance)
        };
        let known = self
            .all()
            .filter_map(|known| Some((mistakes(known)?, known)));
        let (_, meant) = known.min_by_key(|(mistakes, _)| *mistakes)?;
        Some(NearMiss {
            at,
            found: name.to_owned(),
            meant: meant.to_owned(),
        })
    }

    /// Whether the value of a variable may be a secret. One that is made of names alone, none of
    /// which is secret, tells nothing that they do not.
    fn may_be_secret(&self, variable: &Variable, depth: usize) -> bool {
        let Source::Computed(computed) = &variable.source else {
            return variable.is_secret;
        };
        let is_secret = |name| match name {
            Name::Variable(at) => self.may_be_secret(&self.variables[usize::from(at)], depth + 1),
            _ => false,
        };
        let is_signed = matches!(computed, Computed::HmacSha256 { .. });
        let mut parts = computed.templates();
        let holds_secret = |part: &Template| part.has_text() || part.names().any(is_secret);
        let is_circle = depth > self.variables.len();
        variable.is_secret && (is_signed || is_circle || parts.any(holds_secret))
    }

    /// `text` with the values of secrets taken out of it, for the client whose row of the table of
    /// users this is: each is replaced by its name in braces.
    #[must_use]
    pub fn without_secrets(&self, text: &str, values: &Values<'_>) -> String {
        let mut text = text.to_owned();
        let mut secrets: Vec<(Cow<'_, str>, &str)> = Vec::new();
        for (at, variable) in self.variables.iter().enumerate() {
            if self.may_be_secret(variable, 0)
                && let Some(value) = values.of(Name::Variable(at as u16))
                && !value.is_empty()
            {
                secrets.push((value, &variable.name));
            }
        }
        // A secret may be part of another one.
        secrets.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        for (value, name) in secrets {
            if text.contains(&*value) {
                text = text.replace(&*value, &format!("{{{name}}}"));
            }
        }
        text
    }
}

/// The values that a template or a match refers to.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The names.
    pub names: &'a Names,
    /// The client's name.
    pub client: &'a str,
    /// The client's row of the table of users.
    pub row: &'a [Box<str>],
    /// Captured values, by the variable's place; may be shorter.
    pub captured: &'a [Option<Box<str>>],
    /// The number of the run.
    pub run: u32,
    /// The room that it is about.
    pub room: Option<&'a str>,
    /// The number of the step or the publish.
    pub id: Option<u64>,
    /// The text of the message.
    pub payload: Option<&'a str>,
}

impl<'a> Values<'a> {
    /// Those of a client of this name, before anything else is known.
    #[must_use]
    pub fn of_client(names: &'a Names, client: &'a str) -> Self {
        Self {
            names,
            client,
            row: &[],
            captured: &[],
            run: 0,
            room: None,
            id: None,
            payload: None,
        }
    }

    /// The value of a name, if it has one yet.
    #[must_use]
    pub fn of(&self, name: Name) -> Option<Cow<'a, str>> {
        let (group, n) = self.client.rsplit_once('-').unwrap_or((self.client, "1"));
        Some(match name {
            Name::Payload => self.payload?.into(),
            Name::Id => self.id?.to_string().into(),
            Name::Client => self.client.into(),
            Name::Group => group.into(),
            Name::N => n.into(),
            Name::Room => self.room?.into(),
            Name::Run => self.run.to_string().into(),
            Name::Variable(at) => {
                let at = usize::from(at);
                return match &self.names.variables[at].source {
                    Source::Constant(value) => Some((&**value).into()),
                    Source::Column(column) => self.row.get(*column).map(|cell| (&**cell).into()),
                    Source::Computed(computed) => self.computed(computed).map(Cow::Owned),
                    Source::Captured => {
                        let value = self.captured.get(at)?.as_ref()?;
                        Some((&**value).into())
                    }
                };
            }
        })
    }

    fn computed(&self, computed: &Computed) -> Option<String> {
        let text = |template: &Template| template.text(self).ok();
        Some(match computed {
            Computed::Text(of) => text(of)?,
            Computed::HmacSha256 { of, key } => hmac_sha256(&text(key)?, &text(of)?),
            Computed::Base64(of) => BASE64.encode(text(of)?),
            Computed::Url(of) => percent_encoded(&text(of)?),
            Computed::Json(of) => in_json(&text(of)?),
        })
    }
}

/// The HMAC-SHA256 of a text (RFC 2104), in hexadecimal digits.
fn hmac_sha256(key: &str, text: &str) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    let digits = mac.finalize().into_bytes();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All but the unreserved characters of RFC 3986 percent-encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// As the inside of a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two test cases of RFC 4231, and the example of Pusher's documentation.
    #[test]
    fn the_hmac_is_that_of_the_standard() {
        let key = "\u{b}".repeat(20);
        assert_eq!(
            hmac_sha256(&key, "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hmac_sha256("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hmac_sha256("7ad3773142a6692b25b8", "1234.1234:private-foobar"),
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
    }

    #[test]
    fn values_are_made_of_others() {
        let mut names = Names::default();
        names.define("key", Source::Constant("Jefe".into()), true);
        names.define("user", Source::Column(1), true);
        let computed =
            |names: &mut Names, name: &str, text: &str, make: fn(Template) -> Computed| {
                let template = Template::parse(text, names).unwrap();
                names.define(name, Source::Computed(make(template)), true)
            };
        computed(&mut names, "b", "{user}:ü", Computed::Base64);
        computed(&mut names, "u", "{room}/ü", Computed::Url);
        computed(&mut names, "j", "{room}\n", Computed::Json);
        let key = Template::parse("{key}", &names).unwrap();
        let of = Template::parse("{user}", &names).unwrap();
        let sig = Source::Computed(Computed::HmacSha256 { of, key });
        names.define("sig", sig, true);
        let row = ["x".into(), "what do ya want for nothing?".into()];
        let values = Values {
            row: &row,
            room: Some("a \"b\""),
            ..Values::of_client(&names, "a-1")
        };
        let of = |name: &str| values.of(names.find(name).unwrap()).unwrap().into_owned();
        assert_eq!(of("b"), "d2hhdCBkbyB5YSB3YW50IGZvciBub3RoaW5nPzrDvA==");
        assert_eq!(of("u"), "a%20%22b%22%2F%C3%BC");
        assert_eq!(of("j"), r#"a \"b\"\n"#);
        assert!(of("sig").starts_with("5bdcc146"));
        let said =
            names.without_secrets("it said Jefe, and what do ya want for nothing?!", &values);
        assert_eq!(said, "it said {key}, and {user}!");
    }

    #[test]
    fn what_is_made_of_names_that_are_no_secrets_is_none() {
        let mut names = Names::default();
        names.define("token", Source::Constant("t0k3n".into()), true);
        for (name, text) in [
            ("nick", "{client}"),
            ("again", "{nick}{nick}"),
            ("mixed", "x-{client}"),
            ("inner", "{token}"),
            ("outer", "{inner}"),
        ] {
            let template = Template::parse(text, &names).unwrap();
            names.define(name, Source::Computed(Computed::Text(template)), true);
        }
        let values = Values::of_client(&names, "a-1");
        let hidden = |text: &str| names.without_secrets(text, &values);
        assert_eq!(hidden("a-1 a-1a-1"), "a-1 a-1a-1");
        assert_eq!(hidden("x-a-1"), "{mixed}");
        assert!(["{token}", "{inner}", "{outer}"].contains(&&*hidden("t0k3n")));
    }

    #[test]
    fn only_what_is_likely_mistyped_is_a_near_miss() {
        let mut names = Names::default();
        names.define("socket_id", Source::Captured, false);
        let meant = |name: &str| names.near_miss(name, 0..0).map(|miss| miss.meant);
        for (name, expected) in [
            ("Id", Some("id")),
            ("payloda", Some("payload")),
            ("paylod", Some("payload")),
            ("rooms", Some("room")),
            ("socketid", Some("socket_id")),
            ("idx", None),
            ("ids", None),
            ("m", None),
            ("text", None),
            ("socket", None),
        ] {
            assert_eq!(meant(name).as_deref(), expected, "{name}");
        }
    }
}
