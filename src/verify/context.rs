//! The context of a ledger of either kind: the terms, the directory, the batch that gathers.

use std::sync::Arc;

use super::batch::{Anomaly, Batch, Message};
use super::directory::{ClientId, Directory};
use super::errors::{UnnamedError, UnnamedErrors};
use super::findings::Example;
use super::ids::split_id;
use super::kind::Kind;
use super::ledger::{Ending, Terms};
use super::outbox::{Flags, Outbox};
use super::trace::view::View;
use crate::scenario::plan::AckPromise;
use crate::wire::ndjson::ErrorCode;
use crate::wire::payload::SenderId;

/// Bytes of an offending line that an example quotes.
const QUOTED_BYTES: usize = 120;

/// An `error` frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Complaint<'a> {
    pub(super) code: &'a str,
    pub(super) detail: &'a str,
    /// The publish that it is about, where it says so.
    pub(super) id: Option<u64>,
}

/// What all sessions of one ledger share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) terms: Terms,
    pub(super) directory: View,
    pub(super) batch: Batch,
    /// Messages of this shard that wait for their acks.
    pub(super) unacked: u64,
}

impl Context {
    pub(super) fn new(terms: Terms, directory: Arc<Directory>) -> Self {
        Self {
            terms,
            directory: View::new(directory),
            batch: Batch::default(),
            unacked: 0,
        }
    }

    /// A violation, seen by `client`, that needs no further knowledge.
    pub(super) fn certain(
        &mut self,
        kind: Kind,
        client: ClientId,
        message: Option<Message>,
        text: String,
        now_ns: u64,
    ) {
        let example = self.example(client, None, message, text, now_ns);
        self.batch.anomalies.push(Anomaly::Certain(kind, example));
    }

    /// The target ended the connection of `client`, which did nothing wrong.
    /// The last number that it had `seen` tells of which numbering it was, should the target begin
    /// anew.
    pub(super) fn hung_up(
        &mut self,
        client: ClientId,
        seen: u64,
        ending: Ending,
        when: &str,
        now_ns: u64,
    ) {
        let how = if ending == Ending::Eof {
            "closed"
        } else {
            "broke"
        };
        let name = self.directory.client_name(client);
        let text =
            format!("the target {how} the connection of {name}, which did nothing wrong{when}");
        let example = self.example(client, None, None, text, now_ns);
        self.batch.anomalies.push(Anomaly::HungUp {
            kind: Kind::UnexpectedClose,
            seen,
            example,
        });
    }

    /// The target closed the connection of `client`, which had half-closed, without a bye.
    pub(super) fn no_goodbye(&mut self, client: ClientId, seen: u64, now_ns: u64) {
        let name = self.directory.client_name(client);
        let text = format!("{name} half-closed and was closed without a bye");
        let example = self.example(client, None, None, text, now_ns);
        self.batch.anomalies.push(Anomaly::HungUp {
            kind: Kind::MissingBye,
            seen,
            example,
        });
    }

    /// The target complained to `client`, of whose session `id` these are the flags and what it
    /// sent; `connecting` if it was not welcomed yet. Returns the message that was refused, if the error names one that still
    /// waited for its answer; with an example if it was in order.
    pub(super) fn error(
        &mut self,
        (client, id): (ClientId, SenderId),
        flags: &mut Flags,
        connecting: bool,
        outbox: &mut Outbox,
        complaint: Complaint<'_>,
        now_ns: u64,
    ) -> Option<(Message, Option<Example>)> {
        self.batch.tally.errors_received += 1;
        let before = *flags;
        flags.got_error(complaint.code, connecting);
        let named = complaint.id.map(split_id);
        let mine = named.filter(|&(sender, _)| sender == id);
        let acks = self.terms.promises.ack == AckPromise::ExactlyOnce;
        let may_refuse =
            |k| outbox.waits_for(k) || outbox.was_acked(k) || !acks && outbox.is_unanswered(k);
        let Some((sender, k)) = mine.filter(|&(_, k)| may_refuse(k)) else {
            if connecting && !before.turned_away {
                flags.error_first = true; // in place of the welcome, if that does not come
            } else {
                self.error_about_none(client, before, outbox, complaint, now_ns);
            }
            return None;
        };
        let message = Message { sender, k };
        let Complaint { code, detail, .. } = complaint;
        let name = self.directory.client_name(client);
        if outbox.was_acked(k) {
            let text = format!(
                "{name} was acked its message {k}, and then it was refused: {code} ({detail})"
            );
            self.certain(Kind::RelayOfRejected, client, Some(message), text, now_ns);
            outbox.waive_ack(k);
            return None;
        }
        self.unacked -= u64::from(outbox.refuse(k));
        outbox.waive_ack(k);
        let example = (!flags.provoked).then(|| {
            let text = format!(
                "{name} sent its message {k} as the protocol has it, and it was refused: {code} \
                 ({detail})"
            );
            self.example(client, None, Some(message), text, now_ns)
        });
        Some((message, example))
    }

    /// The target complained to `client`, whose flags were these before, and not about a message of
    /// its own: it ends the connection, it answers what a script sent byte for byte, it may answer
    /// a message that waits, or nobody asked for it.
    fn error_about_none(
        &mut self,
        client: ClientId,
        flags: Flags,
        outbox: &mut Outbox,
        complaint: Complaint<'_>,
        now_ns: u64,
    ) {
        let Complaint { code, detail, id } = complaint;
        let cut_off = code == ErrorCode::SlowConsumer.as_str() && !flags.cut_off;
        if cut_off || outbox.take_owed_error() {
            return;
        }
        let error = UnnamedError {
            last_k: outbox.last_k,
            at_ns: now_ns,
            code: code.into(),
            detail: detail.into(),
        };
        if outbox.refuse_raw() {
            if !flags.provoked {
                let name = self.directory.client_name(client);
                let text = format!(
                    "{name} sent a publish byte for byte, as the protocol has it, and it was \
                     refused: {code} ({detail})"
                );
                self.certain(Kind::MissingAck, client, None, text, now_ns);
            }
        } else if self.terms.promises.ack == AckPromise::None
            && id.is_none()
            && outbox.unnamed_errors < outbox.last_k
        {
            outbox.unnamed_errors += 1; // any message that was sent may be what it is about
        } else if id.is_none() {
            for error in outbox.unnamed_error(error) {
                self.stray_error(client, None, &error);
            }
        } else {
            let message = id.map(split_id).map(|(sender, k)| Message { sender, k });
            self.stray_error(client, message, &error);
        }
    }

    /// A session of `client` is welcomed by a target that takes lines of `max_line` bytes; an error
    /// that it got first was not in place of that.
    pub(super) fn welcomed(&mut self, client: ClientId, flags: Flags, max_line: u64, now_ns: u64) {
        let max_line_bytes = usize::try_from(max_line).unwrap_or(usize::MAX);
        self.terms.max_line_bytes = max_line_bytes.max(1);
        if flags.error_first {
            let name = self.directory.client_name(client);
            let text = format!("{name} got an error before its welcome, and was not turned away");
            self.certain(Kind::StrayError, client, None, text, now_ns);
        }
    }

    fn stray_error(&mut self, client: ClientId, named: Option<Message>, error: &UnnamedError) {
        let name = self.directory.client_name(client);
        let theirs = named.filter(|m| self.directory.was_opened(m.sender) && m.k > 0);
        let about = match theirs {
            Some(Message { sender, k }) => {
                format!(", about message {k} of {}", self.directory.name(sender))
            }
            None if named.is_some() => ", about a message that nobody sent".to_owned(),
            None => String::new(),
        };
        let UnnamedError {
            code,
            detail,
            at_ns,
            ..
        } = error;
        let text = format!(
            "{name} got an error that nothing it sent accounts for{about}: {code} ({detail})"
        );
        let example = self.example(client, None, theirs, text, *at_ns);
        let stray = Anomaly::StrayError {
            message: theirs,
            example,
        };
        self.batch.anomalies.push(stray);
    }

    /// Nothing more is waited for of what a session of `client` sent; of the errors that it got,
    /// those are reported that none of the messages without an answer accounts for.
    pub(super) fn drop_pending(&mut self, client: ClientId, outbox: Option<&mut Outbox>) {
        if let Some(outbox) = outbox {
            for error in outbox.unexplained_errors() {
                self.stray_error(client, None, &error);
            }
            outbox.errors = UnnamedErrors::default();
            self.unacked -= outbox.pending.len() as u64;
            outbox.pending.clear();
            outbox.overtaken.clear();
        }
    }

    /// A scripted `await_acks` of `client`, in session `id`, took too long.
    pub(super) fn overdue_acks(
        &mut self,
        (client, id): (ClientId, SenderId),
        outbox: Option<&mut Outbox>,
        within: &str,
        now_ns: u64,
    ) {
        let waiting = outbox.as_deref().map_or(0, Outbox::unacked);
        let name = self.directory.client_name(client);
        let acks = if waiting == 1 { "ack" } else { "acks" };
        let text = format!("{name} waited {within} for {waiting} {acks} that did not come");
        let example = self.example(client, None, None, text, now_ns);
        let messages = outbox.map_or_else(Vec::new, |outbox| outbox.overdue(id));
        let overdue = Anomaly::Overdue { messages, example };
        self.batch.anomalies.push(overdue);
    }

    pub(super) fn example(
        &self,
        client: ClientId,
        seq: Option<u64>,
        message: Option<Message>,
        text: String,
        at_ns: u64,
    ) -> Example {
        Example {
            text,
            sender: message.map(|m| self.directory.name(m.sender)),
            receiver: Some(self.directory.client_name(client).to_owned()),
            k: message.map(|m| m.k),
            seq,
            at_ns,
        }
    }
}

/// A text that none of the run's clients sent, as it came.
pub(super) fn nobodys(from: &str, text: &[u8]) -> String {
    format!(
        "sent by no client of this run, in the name of {} (the target made it up, or another client \
         uses this target): {}",
        quote(from.as_bytes()),
        quote(text)
    )
}

/// The beginning of what came, fit for a terminal.
pub(super) fn quote(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(QUOTED_BYTES)];
    let mut text = format!("`{}`", shown.escape_ascii());
    if shown.len() < bytes.len() {
        text.push_str(&format!(" … {} bytes", bytes.len()));
    }
    text
}
