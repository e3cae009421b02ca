//! One person's side of the protocol, sans-IO: lines typed and lines received in, bytes to send
//! and things to show out.

use std::collections::BTreeSet;

use thiserror::Error;

use super::screen::Shown;
use crate::wire::ndjson::{self, ErrorCode, Publish, ServerFrame};

/// Why a conversation cannot go on, or could not begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Broken {
    #[error(
        "that server does not speak this protocol: its first line was {0}; chatbench chat needs an ndjson broadcast server"
    )]
    NotThisProtocol(String),
    #[error("the server speaks version {0} of the protocol, this client version 1")]
    Version(u64),
    #[error("the server turned this client away: {0}")]
    TurnedAway(String),
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// It has not said welcome yet.
    Silent,
    /// It has.
    Present,
    /// It has said bye: nothing follows.
    Gone,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Conversation {
    server: Server,
    /// The longest line that the server takes, in bytes with the LF; stated in its welcome.
    max_line_bytes: u64,
    last_id: u64,
    /// The ids of what was sent and neither acked nor refused yet.
    unanswered: BTreeSet<u64>,
}

impl Conversation {
    pub(super) fn new() -> Self {
        Self {
            server: Server::Silent,
            max_line_bytes: 0,
            last_id: 0,
            unanswered: BTreeSet::new(),
        }
    }

    pub(super) fn server(&self) -> Server {
        self.server
    }

    /// How many lines were sent and have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Appends the publish of a line to `out`, unless the server would not take it: then says so.
    pub(super) fn say(&mut self, text: &str, out: &mut Vec<u8>) -> Option<Shown> {
        let start = out.len();
        let id = self.last_id + 1;
        let publish = Publish {
            message: text.into(),
            id: Some(id),
            client_ip: None,
            room: None,
        };
        ndjson::encode_publish(out, &publish);
        let line_bytes = (out.len() - start) as u64;
        if line_bytes > self.max_line_bytes {
            out.truncate(start);
            return Some(Shown::Refused(format!(
                "not sent: that makes a line of {line_bytes} bytes, and this server takes at most {}",
                self.max_line_bytes
            )));
        }
        self.last_id = id;
        self.unanswered.insert(id);
        None
    }

    /// Takes a line that came; appends what is to be seen of it to `shown`.
    ///
    /// # Errors
    /// [`Broken`], and the conversation is over.
    pub(super) fn hear(&mut self, line: &[u8], shown: &mut Vec<Shown>) -> Result<(), Broken> {
        let frame = ndjson::decode_server(line);
        match self.server {
            Server::Silent => return self.hear_welcome(line, frame.ok(), shown),
            Server::Gone => return Ok(()), // whatever it is, it is not owed
            Server::Present => {}
        }
        match frame {
            Ok(ServerFrame::Relay {
                client_ip, message, ..
            }) => shown.push(Shown::Said {
                by: client_ip.into_owned(),
                text: message.into_owned(),
            }),
            Ok(ServerFrame::Ack { seq, id, .. }) => {
                self.answered(id);
                shown.push(Shown::Accepted { seq });
            }
            Ok(ServerFrame::Error {
                code, detail, id, ..
            }) => {
                self.answered(id);
                shown.push(Shown::Refused(in_words(&code, &detail)));
            }
            Ok(ServerFrame::Bye { .. }) => self.server = Server::Gone,
            Ok(
                ServerFrame::Welcome { .. }
                | ServerFrame::Joined { .. }
                | ServerFrame::Left { .. }
                | ServerFrame::Unknown,
            ) => {}
            Err(malformed) => shown.push(Shown::Note(format!(
                "the server sent a line that is no frame: {malformed}"
            ))),
        }
        Ok(())
    }

    /// J1: `welcome` comes first. Only being turned away may come in its place.
    fn hear_welcome(
        &mut self,
        line: &[u8],
        frame: Option<ServerFrame<'_>>,
        shown: &mut Vec<Shown>,
    ) -> Result<(), Broken> {
        match frame {
            Some(ServerFrame::Welcome {
                protocol,
                client_ip,
                max_line,
                ..
            }) => {
                if protocol != ndjson::PROTOCOL_VERSION {
                    return Err(Broken::Version(protocol));
                }
                self.server = Server::Present;
                self.max_line_bytes = max_line;
                shown.push(Shown::Note(format!(
                    "you are {client_ip}; what you type is sent, /q leaves, /help says more"
                )));
                Ok(())
            }
            Some(ServerFrame::Error { code, detail, .. }) => {
                Err(Broken::TurnedAway(in_words(&code, &detail)))
            }
            _ => Err(Broken::NotThisProtocol(beginning_of(line))),
        }
    }

    fn answered(&mut self, id: Option<u64>) {
        if let Some(id) = id {
            self.unanswered.remove(&id);
        }
    }
}

/// An error frame as a person would say it. `detail` may change, so it is shown as it comes.
fn in_words(code: &str, detail: &str) -> String {
    let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
    let words = match known {
        Some(ErrorCode::Malformed) => "the server could not read that",
        Some(ErrorCode::EmptyMessage) => "the server takes no empty messages",
        Some(ErrorCode::LineTooLong) => "that was too long for the server",
        Some(ErrorCode::SlowConsumer) => "this client read too slowly for the server",
        Some(ErrorCode::ServerFull) => "it is full",
        Some(ErrorCode::BadRoom) => "no room of the server can have that name",
        Some(ErrorCode::AlreadyJoined) => "this client is in that room already",
        Some(ErrorCode::NotJoined) => "this client is not in that room",
        Some(ErrorCode::TooManyRooms) => "the server has no place for another room",
        None => code,
    };
    if detail.is_empty() {
        words.to_owned()
    } else {
        format!("{words} ({detail})")
    }
}

/// Enough of a line to recognise what is there.
fn beginning_of(line: &[u8]) -> String {
    const SHOWN_CHARS: usize = 40;
    let text = String::from_utf8_lossy(line);
    let mut beginning: String = text.chars().take(SHOWN_CHARS).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        beginning.push('…');
    }
    format!("{beginning:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(max_line: u64) -> Vec<u8> {
        let mut line = Vec::new();
        ndjson::encode_welcome(&mut line, "127.0.0.1:5", 41, max_line);
        line.pop();
        line
    }

    fn begun(max_line: u64) -> Conversation {
        let mut conversation = Conversation::new();
        conversation
            .hear(&welcome(max_line), &mut Vec::new())
            .unwrap();
        conversation
    }

    fn heard(conversation: &mut Conversation, bytes: &[u8]) -> Vec<Shown> {
        let mut shown = Vec::new();
        conversation.hear(bytes, &mut shown).unwrap();
        shown
    }

    fn first_line(line: &[u8]) -> Result<(), Broken> {
        Conversation::new().hear(line, &mut Vec::new())
    }

    #[test]
    fn the_welcome_opens_the_conversation() {
        let mut conversation = Conversation::new();
        assert_eq!(conversation.server(), Server::Silent);
        let shown = heard(&mut conversation, &welcome(100));
        assert_eq!(conversation.server(), Server::Present);
        let words = "you are 127.0.0.1:5; what you type is sent, /q leaves, /help says more";
        assert_eq!(shown, [Shown::Note(words.to_owned())]);
    }

    #[test]
    fn a_stranger_to_the_protocol_is_told_apart() {
        assert_eq!(
            first_line(b"HTTP/1.1 400 Bad Request"),
            Err(Broken::NotThisProtocol(
                "\"HTTP/1.1 400 Bad Request\"".to_owned()
            ))
        );
        assert_eq!(
            first_line(br#"{"type":"ack","seq":1}"#),
            Err(Broken::NotThisProtocol(
                r#""{\"type\":\"ack\",\"seq\":1}""#.to_owned()
            ))
        );
        assert_eq!(
            first_line(br#"{"type":"welcome","protocol":2,"client_ip":"","seq":0,"max_line":1}"#),
            Err(Broken::Version(2))
        );
        assert_eq!(
            first_line(br#"{"type":"error","code":"server-full","detail":"2 clients"}"#),
            Err(Broken::TurnedAway("it is full (2 clients)".to_owned()))
        );
    }

    #[test]
    fn what_is_said_has_an_id_until_it_is_answered() {
        let mut conversation = begun(100);
        let mut out = Vec::new();
        assert_eq!(conversation.say("one", &mut out), None);
        assert_eq!(conversation.say("two \"2\"", &mut out), None);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"message\":\"one\",\"id\":1}\n{\"message\":\"two \\\"2\\\"\",\"id\":2}\n"
        );
        assert_eq!(conversation.unanswered(), 2);
        let shown = heard(&mut conversation, br#"{"type":"ack","seq":42,"id":1}"#);
        assert_eq!(shown, [Shown::Accepted { seq: 42 }]);
        assert_eq!(conversation.unanswered(), 1);
        let shown = heard(
            &mut conversation,
            br#"{"type":"error","code":"malformed","detail":"why","id":2}"#,
        );
        let words = "the server could not read that (why)";
        assert_eq!(shown, [Shown::Refused(words.to_owned())]);
        assert_eq!(conversation.unanswered(), 0);
    }

    #[test]
    fn what_the_server_would_not_take_is_not_sent() {
        let longest = "{\"message\":\"12345\",\"id\":1}\n".len() as u64;
        let mut conversation = begun(longest);
        let mut out = Vec::new();
        let refused = conversation.say("123456", &mut out);
        assert!(matches!(refused, Some(Shown::Refused(words)) if words.contains("at most 27")));
        assert!(out.is_empty());
        assert_eq!(conversation.unanswered(), 0);
        assert_eq!(conversation.say("12345", &mut out), None);
        assert_eq!(out.len() as u64, longest);
    }

    #[test]
    fn what_others_say_is_shown_with_who_said_it() {
        let shown = heard(
            &mut begun(100),
            br#"{"type":"relay","seq":42,"client_ip":"127.0.0.1:6","message":"hello"}"#,
        );
        let (by, text) = ("127.0.0.1:6".to_owned(), "hello".to_owned());
        assert_eq!(shown, [Shown::Said { by, text }]);
    }

    #[test]
    fn a_line_that_is_no_frame_is_mentioned_and_an_unknown_type_is_not() {
        let mut conversation = begun(100);
        let shown = heard(&mut conversation, b"garbage");
        let words = "the server sent a line that is no frame: expected a JSON object";
        assert_eq!(shown, [Shown::Note(words.to_owned())]);
        assert_eq!(heard(&mut conversation, br#"{"type":"typing"}"#), []);
    }

    #[test]
    fn nothing_is_shown_after_the_bye() {
        let mut conversation = begun(100);
        assert_eq!(heard(&mut conversation, br#"{"type":"bye","seq":42}"#), []);
        assert_eq!(conversation.server(), Server::Gone);
        assert_eq!(heard(&mut conversation, br#"{"type":"ack","seq":43}"#), []);
    }
}
