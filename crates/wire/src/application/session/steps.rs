//! Steps that are gone through: of the login, of joins and leaves, and what scripts ask.

use std::sync::Arc;

use super::{Session, What};
use crate::application::spec::{Rule, Spec, Step};
use crate::application::template::NoValue;
use crate::rooms::RoomId;

/// What came since a script asked something.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// A refusal did: nothing else will answer.
    pub(super) denied: bool,
    /// The first frame that is no answer, and that nothing else explains.
    pub(super) instead: String,
}

/// Steps that are gone through.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) about: About,
    /// The step whose answer it waits for.
    pub(super) step: usize,
    /// The `{id}` that was sent last.
    pub(super) id: Option<u64>,
    /// Until when it waits; `None` before the first look at a clock.
    pub(super) until_ns: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Login,
    Join(RoomId),
    Leave(RoomId),
    /// What a script asks, by its number.
    Ask(usize),
}

impl About {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Join(_) => "join",
            Self::Leave(_) => "leave",
            Self::Ask(_) => "script",
        }
    }

    pub(super) fn room(self) -> RoomId {
        match self {
            Self::Login | Self::Ask(_) => RoomId::UNNAMED,
            Self::Join(room) | Self::Leave(room) => room,
        }
    }

    pub(super) fn steps(self, spec: &Spec) -> &[Step] {
        match self {
            Self::Login => &spec.login,
            Self::Join(_) => &spec.join,
            Self::Leave(_) => &spec.leave,
            Self::Ask(nth) => spec.asks.get(nth).map_or(&[], std::slice::from_ref),
        }
    }

    /// The place in the description of what is sent or expected at a step.
    pub(super) fn rule(self, step: usize, part: &'static str) -> Rule {
        let nth = match self {
            Self::Ask(_) => None, // the step is one of the script's
            _ => Some(step),
        };
        let key = self.key();
        Rule { key, nth, part }
    }

    pub(super) fn done(self) -> What {
        match self {
            Self::Login => What::LoggedIn,
            Self::Join(room) => What::Joined(room),
            Self::Leave(room) => What::Left(room),
            Self::Ask(_) => What::Answered,
        }
    }
}

impl Session {
    /// The transport is open: the login begins.
    pub fn begin(&mut self) {
        self.start(About::Login);
    }

    /// Asks to be let into a room.
    pub fn join(&mut self, room: RoomId) {
        self.start(About::Join(room));
    }

    /// Leaves a room.
    pub fn leave(&mut self, room: RoomId) {
        self.joined.retain(|one| *one != room);
        self.start(About::Leave(room));
    }

    /// Asks what a script asks, by its number in the description.
    pub fn ask(&mut self, nth: usize) {
        self.asking = Some(Box::default());
        self.start(About::Ask(nth));
        if self.trouble.is_some() {
            self.sequences.retain(|one| one.about != About::Ask(nth)); // nothing was sent
        }
    }

    /// Whether the answer to what a script asked is still waited for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        let mut sequences = self.sequences.iter();
        let is_denied = self.asking.as_ref().is_some_and(|asking| asking.denied);
        !is_denied && sequences.any(|one| matches!(one.about, About::Ask(_)))
    }

    /// Waits no longer for the answer to what a script asked. Returns what was expected and what
    /// came instead, which may be nothing; `None` if no answer is waited for.
    pub fn give_up_asking(&mut self) -> Option<(String, String)> {
        let asking = self.asking.take();
        let is_ask = |one: &Sequence| matches!(one.about, About::Ask(_));
        let at = self.sequences.iter().position(is_ask)?;
        let Sequence { about, step, .. } = self.sequences.remove(at);
        let step = about.steps(&self.spec).get(step)?;
        let expected = step.expect.as_ref()?.written().to_owned();
        let instead = asking.map_or_else(String::new, |asking| asking.instead);
        Some((expected, instead))
    }

    fn start(&mut self, about: About) {
        self.sequences.push(Sequence {
            about,
            step: 0,
            id: None,
            until_ns: None,
        });
        // What nothing answers is claimed by nobody: what comes first proves it.
        let _ = self.go_on(self.sequences.len() - 1, false);
    }

    /// Goes on with a sequence to the next answer that it has to wait for; `answered` if the one of
    /// its step has come. Returns what came about if that was its end.
    pub(super) fn go_on(&mut self, nth: usize, answered: bool) -> Option<What> {
        let spec = Arc::clone(&self.spec);
        let Sequence { about, .. } = self.sequences[nth];
        let steps = about.steps(&spec);
        let mut waited = answered;
        loop {
            let sequence = &mut self.sequences[nth];
            sequence.until_ns = None;
            if waited {
                sequence.step += 1;
            }
            let Some(step) = steps.get(sequence.step) else {
                break;
            };
            if let Some(template) = &step.send {
                let rule = about.rule(self.sequences[nth].step, "send");
                match self.send(template, about.room(), rule) {
                    Ok(id) => {
                        let sequence = &mut self.sequences[nth];
                        sequence.id = id.or(sequence.id);
                    }
                    Err(NoValue(name)) => {
                        let rule = about.rule(self.sequences[nth].step, "send");
                        let name = spec.names.name(name);
                        self.fail(format!(
                            "{rule} needs {{{name}}}, which has no value by then"
                        ));
                        return None;
                    }
                }
            }
            if step.expect.is_some() {
                return None;
            }
            waited = true;
        }
        self.sequences.remove(nth);
        if let About::Join(room) = about {
            self.joined.push(room);
        }
        Some(about.done())
    }
}
