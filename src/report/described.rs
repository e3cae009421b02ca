//! What a run shows of a `[protocol]`: which of its matches never matched, and what came instead.

use crate::terminal::visible;
use crate::verify::findings::Counts;
use crate::wire::application::spec::{Ack, Spec};

use super::figures;

/// Notes that a writer of the description should know.
pub(super) fn notes(spec: &Spec, counts: &Counts) -> Vec<String> {
    let mut notes = Vec::new();
    if let Ack::Match(all) = &spec.ack
        && counts.sent > 0
        && counts.acked == 0
    {
        let all: Vec<&str> = all.iter().map(|one| one.written()).collect();
        notes.push(format!(
            "nothing that came was the ack of a message, protocol.ack = {}; chatbench try shows \
             what each frame is taken for",
            all.join(" or ")
        ));
    }
    if counts.unknown_frames > 0
        && let Some(first) = spec.tally.first_other()
    {
        let first = visible(first);
        notes.push(match counts.unknown_frames {
            1 => format!("one frame was of no kind that [protocol] knows: {first}"),
            n => format!(
                "{} frames were of no kind that [protocol] knows; the first of them: {first}",
                figures::count(n)
            ),
        });
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scenario;
    use crate::wire::application::session::Session;
    use crate::wire::protocol::Spoken;
    use crate::wire::rooms::RoomNames;

    #[test]
    fn what_matched_nothing_is_shown_with_what_came() {
        let text = "[target]\nurl = 'tcp://h:1'\n[protocol]\npublish = '{payload} {id}'\n\
                    ack = 'ok {id}'\n[clients.a]\nrate = 1\n";
        let plan = scenario::parse("case", text, &[], None, None).unwrap();
        let Spoken::Application(spec) = plan.target.spoken else {
            panic!("it is described");
        };
        let counts = |acked, unknown_frames| Counts {
            sent: 3,
            acked,
            unknown_frames,
            ..Counts::default()
        };
        assert_eq!(notes(&spec, &counts(3, 0)), [""; 0]);
        let rooms = Arc::new(RoomNames::default());
        let mut session = Session::new(Arc::clone(&spec), rooms, 1, "a-1", 0);
        session.take(b"hello\x1b[2J");
        session.take(b"again");
        let all = notes(&spec, &counts(0, 12));
        assert_eq!(
            all[0],
            "nothing that came was the ack of a message, protocol.ack = ok {id}; chatbench try shows \
             what each frame is taken for"
        );
        let others = "12 frames were of no kind that [protocol] knows; the first of them: hello";
        assert!(all[1].starts_with(others), "{all:?}");
        assert!(!all[1].contains('\x1b'), "{all:?}");
        assert!(notes(&spec, &counts(3, 1))[0].starts_with("one frame was"));
    }
}
