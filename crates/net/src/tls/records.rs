//! One step of rustls at a time: records in; plain bytes, and records to be sent, out.

use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// What the buffer of encrypted bytes begins with: four of the longest records.
const ENCRYPTED_BYTES: usize = 65 << 10;

/// A connection's side, without buffers.
pub(super) enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Side {
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(side) => side,
            Self::Server(side) => side,
        }
    }
}

/// What a step is to do as soon as the connection is able to.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Close,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Another step may do more.
    Again,
    /// It did its task, and has no whole record to go on with.
    Done,
    /// It needs more input before it can do its task.
    Blocked,
}

/// Encrypted bytes. The buffer stays as long as it once was, so that nothing is zeroed twice.
pub(super) struct Encrypted {
    bytes: Vec<u8>,
    used: usize,
}

impl Encrypted {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// Forgets what was not taken.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let needed = self.used + bytes;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.max(ENCRYPTED_BYTES), 0);
        }
        &mut self.bytes[self.used..]
    }

    /// The bytes since they were last taken.
    pub(super) fn take(&mut self) -> &[u8] {
        &self.bytes[..std::mem::take(&mut self.used)]
    }
}

/// One step of rustls over `incoming`: how much of it to discard, and how it ended.
pub(super) fn step(
    side: &mut Side,
    incoming: &mut [u8],
    task: Task<'_>,
    out: &mut Encrypted,
    ended: &mut bool,
    plain: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Progress, rustls::Error>) {
    match side {
        Side::Client(side) => handle(side.process_tls_records(incoming), task, out, ended, plain),
        Side::Server(side) => handle(side.process_tls_records(incoming), task, out, ended, plain),
    }
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    task: Task<'_>,
    out: &mut Encrypted,
    ended: &mut bool,
    plain: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Progress, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let progress = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Progress::Again),
            }
        },
        Ok(ConnectionState::PeerClosed) => {
            *ended = true;
            Ok(Progress::Again)
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let encoded = match message.encode(out.room(0)) {
                Err(EncodeError::InsufficientSize(least)) => {
                    message.encode(out.room(least.required_size))
                }
                encoded => encoded,
            };
            out.used += encoded.expect("there is room, and it was not encoded before");
            Ok(Progress::Again)
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done(); // it is in `out`, from which everything goes in order
            Ok(Progress::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut able)) => {
            let attempt = |able: &mut WriteTraffic<'_, Data>, out: &mut [u8]| match task {
                Task::Nothing => Ok(0),
                Task::Encrypt(bytes) => able.encrypt(bytes, out),
                Task::Close => able.queue_close_notify(out),
            };
            let written = match attempt(&mut able, out.room(0)) {
                Err(EncryptError::InsufficientSize(least)) => {
                    attempt(&mut able, out.room(least.required_size))
                }
                written => written,
            };
            match written {
                Ok(count) => {
                    out.used += count;
                    Ok(Progress::Done)
                }
                Err(error) => Err(rustls::Error::General(error.to_string())),
            }
        }
        // Neither early data nor other states come of the settings in use.
        Ok(_) => Ok(Progress::Blocked),
    };
    (discard, progress)
}
