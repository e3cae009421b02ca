//! The classic dialect's side of the server (section 7 of `docs/PROTOCOL.md`).
//!
//! Its sessions read a log of their own: the same messages in the same order, as the texts that
//! the original's clients expect. It exists only if there is a listener for such clients, so
//! a server without one does nothing twice; with one, a message is encoded once per dialect, and
//! still not once per receiver.

use std::mem;
use std::rc::Rc;

use tracing::info;

use super::broadcast::Broadcast;
use super::cursor::Cursor;
use super::log::Log;
use super::session::{Phase, Session, Stream};
use chatbench_wire::classic::{self, objects::ObjectBuffer};
use chatbench_wire::foreign;
use chatbench_wire::ndjson::MessageText;

/// The state that only a session of the classic dialect has.
#[derive(Debug)]
pub(super) struct ClassicSide {
    objects: ObjectBuffer,
    /// The ack of each of its messages (C2).
    ack: Rc<[u8]>,
}

impl<S: Stream> Session<S> {
    /// A session that joins now, without a welcome (C3).
    pub(super) fn join_classic(
        stream: S,
        client_ip: &str,
        log: &Log,
        max_object_bytes: usize,
    ) -> Self {
        let mut ack = Vec::new();
        classic::encode_ack(&mut ack, client_ip);
        let side = ClassicSide {
            objects: ObjectBuffer::new(max_object_bytes),
            ack: ack.into(),
        };
        let cursor = Cursor::join_silently(log);
        Self::new(
            stream,
            client_ip,
            cursor,
            max_object_bytes,
            Some(Box::new(side)),
        )
    }
}

impl ClassicSide {
    /// The number of objects in a read that holds whole objects and nothing else; else 0.
    pub(super) fn whole_objects(&self, bytes: &[u8]) -> usize {
        let mut read = ObjectBuffer::new(bytes.len());
        let mut objects = read.feed(bytes);
        let mut count = 0;
        while let Some(Ok(_)) = objects.next() {
            count += 1;
        }
        let whole = self.objects.pending_bytes() == 0 && read.pending_bytes() == 0;
        if whole { count } else { 0 }
    }

    /// Bytes of an object that has begun and not ended.
    pub(super) fn pending_bytes(&self) -> usize {
        self.objects.pending_bytes()
    }

    /// Frees the bytes that are kept of it.
    pub(super) fn forget_input(&mut self) {
        self.objects = ObjectBuffer::new(0);
    }

    /// The text that acknowledges a message of this session.
    pub(super) fn ack(&self) -> Rc<[u8]> {
        Rc::clone(&self.ack)
    }
}

impl<S: Stream> Broadcast<S> {
    /// Takes the input of one read from a client of the classic dialect (C1).
    pub(super) fn take_objects(&mut self, id: usize, bytes: &[u8]) {
        // The buffer is taken out while its objects are read, because they need the session itself.
        let mut objects = mem::replace(self.objects(id), ObjectBuffer::new(0));
        let mut chunk = objects.feed(bytes);
        while self.session(id).phase == Phase::Open
            && let Some(object) = chunk.next()
        {
            match object {
                Ok(object) => self.take_object(id, object),
                Err(error) => {
                    let first_line = bytes.split(|byte| *byte == b'\n').next();
                    let why = match first_line.and_then(foreign::recognise) {
                        Some(foreign) => format!("this is {foreign}"),
                        None => error.to_string(),
                    };
                    self.refuse_object(id, &why);
                }
            }
            self.flush_if_much();
        }
        *self.objects(id) = objects;
    }

    fn objects(&mut self, id: usize) -> &mut ObjectBuffer {
        let side = self.session(id).classic.as_mut();
        &mut side.expect("the session is of this dialect").objects
    }

    fn take_object(&mut self, id: usize, object: &[u8]) {
        if self.with_faults(false, |faults, broadcast| {
            faults.loses_line(broadcast, id, object)
        }) {
            return;
        }
        match classic::decode_publish(object) {
            Ok(publish) if publish.message.is_empty() => {
                self.refuse_object(id, "a message has 1 or more characters");
            }
            Ok(publish) => {
                self.with_faults((), |faults, broadcast| {
                    faults.claims(broadcast, id, publish.client_ip.as_deref());
                });
                let message = MessageText::decoded(&publish.message);
                self.publish(id, message, None);
            }
            Err(malformed) => self.refuse_object(id, &malformed.detail),
        }
    }

    /// Ends a session whose input is malformed: the client is told nothing (C3), so it is logged.
    fn refuse_object(&mut self, id: usize, why: &str) {
        self.count_error();
        let client_ip = &self.session(id).client_ip;
        info!(%client_ip, why, "closed: not the classic dialect");
        self.close(id);
    }
}
