//! The judgement over all shards: every number is settled once, in order, when no session can say
//! anything about it any more.
//!
//! Each [`Batch`] states up to which number its shard has told everything. What lies under the
//! least of these is settled for good: with every claim about a number on the table it can be
//! told a lost relay from a skipped number, a reused number from two receivers that saw different
//! orders, and whose ack went astray. No timeout is involved anywhere.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::batch::{Anomaly, Batch, Fact, Message, Proof, Tally};
use super::directory::{ClientId, Directory};
use super::findings::{Coverage, Example, Findings};
use super::kind::Kind;
use crate::wire::payload::SenderId;

/// Numbers that may wait to be settled. Past it the oldest are settled with what is known: a
/// session that far behind is judged on its own.
const MAX_RECORDS: usize = 1 << 18;

/// How far around a number another one of the same message is looked for.
const NEIGHBOURS: u64 = 1024;

/// Conflicting claims that are remembered to tell the two halves of one exchange.
const MAX_EXCHANGES: usize = 1 << 16;

/// A message about which everything is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// When it was due.
    pub intended_ns: u64,
    /// When its first receiver got it.
    pub first_ns: u64,
    /// When its last receiver got it.
    pub last_ns: u64,
    /// How many got it.
    pub receivers: u64,
}

/// The judge of a run.
#[derive(Debug)]
pub struct Judge {
    directory: Arc<Directory>,
    late_after_ns: Option<u64>,
    watermarks: Vec<u64>,
    /// The number of `records[0]`.
    base: u64,
    records: VecDeque<Record>,
    missing: Vec<Missing>,
    conflicts: BTreeMap<u64, Vec<Conflict>>,
    behind: BTreeMap<u64, Vec<Behind>>,
    irregular: HashMap<(Kind, u64, u64), Irregular>,
    unacked: Vec<(Message, u64)>,
    stray: HashSet<Message>,
    late: BTreeMap<u64, Vec<Late>>,
    exchanges: HashSet<(SenderId, u64, u64)>,
    gaps: Vec<(u64, u64)>,
    senders: HashMap<SenderId, Track>,
    /// What the latest [`NEIGHBOURS`] settled numbers were.
    recent: VecDeque<(u64, Message)>,
    ended: VecDeque<(SenderId, u64)>,
    /// The latest send among the numbers settled, and whose it was.
    latest_sent: Option<(u64, Message, u64)>,
    hung_up: Vec<(ClientId, Example)>,
    tally: Tally,
    findings: Findings,
    lost: u64,
    irregular_deliveries: u64,
}

/// What is known of one number.
#[derive(Debug, Clone, Default)]
struct Record {
    acked: Option<Acked>,
    /// A second message that was acked with this number.
    acked_too: Option<Message>,
    relayed: Option<Relayed>,
}

#[derive(Debug, Clone, Copy)]
struct Acked {
    message: Message,
    sent_ns: u64,
    acked_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Relayed {
    message: Message,
    intended_ns: u64,
    first_ns: u64,
    last_ns: u64,
    receivers: u64,
    first_receiver: SenderId,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    receiver: SenderId,
    from: u64,
    until: u64,
    proof: Proof,
    at_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Conflict {
    receiver: SenderId,
    claim: Message,
    /// How many receivers saw it so.
    receivers: u64,
    at_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    message: Message,
    seen: u64,
    at_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Late {
    receiver: SenderId,
    message: Message,
    intended_ns: u64,
    at_ns: u64,
}

#[derive(Debug)]
struct Irregular {
    receiver: SenderId,
    receivers: u64,
    message: Option<Message>,
    text: String,
    at_ns: u64,
}

/// How far a sender's messages were numbered.
#[derive(Debug, Default)]
struct Track {
    last_k: u64,
    /// Passed over; reordered if they are numbered later.
    passed_over: Vec<u64>,
}

impl Judge {
    /// A judge over `shards` shards.
    #[must_use]
    pub fn new(directory: Arc<Directory>, shards: usize, late_after_ns: Option<u64>) -> Self {
        Self {
            directory,
            late_after_ns,
            watermarks: vec![0; shards],
            base: 0,
            records: VecDeque::new(),
            missing: Vec::new(),
            conflicts: BTreeMap::new(),
            behind: BTreeMap::new(),
            irregular: HashMap::new(),
            unacked: Vec::new(),
            stray: HashSet::new(),
            late: BTreeMap::new(),
            exchanges: HashSet::new(),
            gaps: Vec::new(),
            senders: HashMap::new(),
            recent: VecDeque::new(),
            ended: VecDeque::new(),
            latest_sent: None,
            hung_up: Vec::new(),
            tally: Tally::default(),
            findings: Findings::default(),
            lost: 0,
            irregular_deliveries: 0,
        }
    }

    /// Violations found so far.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        self.findings.violation_count() + self.hung_up.len() as u64
    }

    /// Takes in what `shard` has learned; `settled` gets each message that is now complete.
    pub fn absorb(&mut self, shard: usize, batch: Batch, mut settled: impl FnMut(Settled)) {
        let Batch {
            watermark,
            facts,
            anomalies,
            ended,
            tally,
            coverage,
        } = batch;
        self.tally.add(&tally);
        self.findings.coverage.add(&coverage);
        for fact in facts {
            self.fact(fact, &mut settled);
        }
        for anomaly in anomalies {
            self.anomaly(anomaly);
        }
        self.ended.extend(ended);
        self.watermarks[shard] = watermark;
        let told = self.watermarks.iter().copied().min().unwrap_or(0);
        self.judge_missing(told);
        let unjudged = self
            .missing
            .iter()
            .map(|m| m.from)
            .min()
            .unwrap_or(u64::MAX);
        let until = told.min(unjudged);
        while self.base < until && !self.records.is_empty() {
            self.settle_next(&mut settled);
        }
        if self.records.is_empty() && until != u64::MAX {
            self.settle_loose_ends(until);
        }
        self.forget_ended();
    }

    /// Everything is in: the last judgement. `target_gone` says that the whole target went away,
    /// so that a closed connection is no single client's grievance.
    #[must_use]
    pub fn finish(mut self, target_gone: bool, mut settled: impl FnMut(Settled)) -> Findings {
        self.watermarks.fill(u64::MAX);
        self.judge_missing(u64::MAX);
        while !self.records.is_empty() {
            self.settle_next(&mut settled);
        }
        self.settle_loose_ends(u64::MAX);
        self.judge_unacked();
        if target_gone {
            self.tally.unfinished += self.hung_up.len() as u64;
        } else {
            self.findings.counts.unexpected_closes = self.hung_up.len() as u64;
            for (_, example) in std::mem::take(&mut self.hung_up) {
                self.findings.violation(Kind::UnexpectedClose, || example);
            }
        }
        self.state_undecided();
        let counts = &mut self.findings.counts;
        counts.sessions = self.tally.sessions;
        counts.sent = self.tally.sent;
        counts.acked = self.tally.acked;
        counts.delivered = self.tally.delivered;
        counts.lost = self.lost;
        counts.owed = self.tally.delivered + self.lost + self.irregular_deliveries;
        counts.optional = self.tally.optional;
        counts.unresolved = self.tally.unresolved;
        counts.duplicated = self.tally.duplicated;
        counts.errors_received = self.tally.errors_received;
        counts.unknown_frames = self.tally.unknown_frames;
        self.findings
    }

    fn state_undecided(&mut self) {
        let t = self.tally;
        let undecided = &mut self.findings.undecided;
        if t.cut_off > 0 {
            undecided.push(format!(
                "{} clients that never stopped reading were cut off as slow consumers: the \
                 generator or the target could not keep up; lower the rate or the number of clients",
                t.cut_off
            ));
        }
        if t.unfinished > 0 {
            undecided.push(format!(
                "{} sessions ended without a bye, so what they were still owed is not known",
                t.unfinished
            ));
        }
        if t.unasked_byes > 0 {
            undecided.push(format!(
                "the target said goodbye to {} sessions that had not asked for it: it was shut down",
                t.unasked_byes
            ));
        }
        if t.uncompared > 0 {
            undecided.push(format!(
                "{} deliveries came so far behind the others that they were checked only for \
                 themselves",
                t.uncompared
            ));
        }
    }

    fn record(&mut self, seq: u64, settled: &mut impl FnMut(Settled)) -> Option<&mut Record> {
        if self.records.is_empty() {
            if seq < self.base {
                return None;
            }
            self.base = seq;
        }
        while seq < self.base && self.recent.is_empty() {
            // Before anything was settled, shards may report from different starts.
            if self.base - seq > MAX_RECORDS as u64 {
                return None;
            }
            self.records.push_front(Record::default());
            self.base -= 1;
        }
        if seq < self.base {
            return None;
        }
        while seq - self.base >= MAX_RECORDS as u64 {
            if self.records.is_empty() {
                self.base = seq;
                break;
            }
            self.settle_next(settled);
        }
        let index = (seq - self.base) as usize;
        if index >= self.records.len() {
            self.records.resize_with(index + 1, Record::default);
        }
        Some(&mut self.records[index])
    }

    fn get(&self, seq: u64) -> Option<&Record> {
        let index = seq.checked_sub(self.base)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    fn fact(&mut self, fact: Fact, settled: &mut impl FnMut(Settled)) {
        match fact {
            Fact::Acked {
                seq,
                message,
                sent_ns,
                acked_ns,
            } => {
                let Some(record) = self.record(seq, settled) else {
                    return;
                };
                match record.acked {
                    None => {
                        record.acked = Some(Acked {
                            message,
                            sent_ns,
                            acked_ns,
                        })
                    }
                    Some(_) => record.acked_too = Some(message),
                }
            }
            Fact::Relayed {
                seq,
                message,
                intended_ns,
                first_ns,
                last_ns,
                receivers,
                first_receiver,
            } => {
                let Some(record) = self.record(seq, settled) else {
                    return;
                };
                match &mut record.relayed {
                    None => {
                        record.relayed = Some(Relayed {
                            message,
                            intended_ns,
                            first_ns,
                            last_ns,
                            receivers,
                            first_receiver,
                        });
                    }
                    Some(known) if known.message == message => {
                        known.first_ns = known.first_ns.min(first_ns);
                        known.last_ns = known.last_ns.max(last_ns);
                        known.receivers += receivers;
                    }
                    Some(_) => {
                        let conflict = Conflict {
                            receiver: first_receiver,
                            claim: message,
                            receivers,
                            at_ns: first_ns,
                        };
                        self.conflicts.entry(seq).or_default().push(conflict);
                    }
                }
            }
        }
    }

    fn anomaly(&mut self, anomaly: Anomaly) {
        match anomaly {
            Anomaly::Certain(kind, example) => self.findings.violation(kind, || example),
            Anomaly::HungUp { client, example } => self.hung_up.push((client, example)),
            Anomaly::Missing {
                receiver,
                from,
                until,
                proof,
                at_ns,
            } => {
                self.missing.push(Missing {
                    receiver,
                    from,
                    until,
                    proof,
                    at_ns,
                });
            }
            Anomaly::Conflict {
                receiver,
                seq,
                claim,
                at_ns,
            } => {
                let conflict = Conflict {
                    receiver,
                    claim,
                    receivers: 1,
                    at_ns,
                };
                self.conflicts.entry(seq).or_default().push(conflict);
            }
            Anomaly::AckBehind {
                seq,
                message,
                seen,
                at_ns,
            } => {
                let behind = Behind {
                    message,
                    seen,
                    at_ns,
                };
                self.behind.entry(seq).or_default().push(behind);
            }
            Anomaly::Unacked { message, at_ns, .. } => self.unacked.push((message, at_ns)),
            Anomaly::StrayAck {
                receiver,
                seq,
                message,
                at_ns,
            } => {
                self.stray.extend(message);
                let receiver = self.directory.name(receiver);
                let of = match message {
                    Some(m) => format!("message {} of {}", m.k, self.directory.name(m.sender)),
                    None => "a message without id, which it never sent".to_owned(),
                };
                let text = format!("{receiver} was sent the ack of {of} (number {seq})");
                self.violation(
                    Kind::StrayAck,
                    Some(receiver),
                    message,
                    Some(seq),
                    text,
                    at_ns,
                );
            }
            Anomaly::Irregular {
                kind,
                receiver,
                seq,
                line,
                message,
                text,
                at_ns,
            } => {
                self.irregular_deliveries += 1;
                let first = Irregular {
                    receiver,
                    receivers: 0,
                    message,
                    text,
                    at_ns,
                };
                self.irregular
                    .entry((kind, seq, line))
                    .or_insert(first)
                    .receivers += 1;
            }
            Anomaly::Late {
                receiver,
                seq,
                message,
                intended_ns,
                at_ns,
            } => {
                let late = Late {
                    receiver,
                    message,
                    intended_ns,
                    at_ns,
                };
                self.late.entry(seq).or_default().push(late);
            }
        }
    }

    /// Judges the missing ranges that lie wholly under `told`: nobody will say more about them.
    fn judge_missing(&mut self, told: u64) {
        if self.missing.is_empty() {
            return;
        }
        let (ready, waiting) = std::mem::take(&mut self.missing)
            .into_iter()
            .partition(|m: &Missing| m.until <= told);
        self.missing = waiting;
        for missing in ready {
            let mut at = missing.from;
            while at < missing.until {
                at = self.judge_missing_number(&missing, at);
            }
        }
    }

    /// Judges number `at` of a missing range (or a run of numbers unknown to all that begins
    /// there); returns the number behind it.
    fn judge_missing_number(&mut self, missing: &Missing, at: u64) -> u64 {
        if at < self.base {
            // Settled long ago, so it existed: nothing but the fact of the loss is left of it.
            self.lost_relay(missing, at, None);
            return at + 1;
        }
        let known = |judge: &Self, n: u64| {
            judge
                .get(n)
                .is_some_and(|r| r.acked.is_some() || r.relayed.is_some())
                || judge.conflicts.contains_key(&n)
                || judge.behind.contains_key(&n)
        };
        if !known(self, at) {
            let end_of_records = self.base + self.records.len() as u64;
            let mut until = at + 1;
            while until < missing.until && until < end_of_records && !known(self, until) {
                until += 1;
            }
            if until >= end_of_records {
                until = missing.until;
            }
            self.sequence_gap(missing, at, until);
            return until;
        }
        let record = self.get(at).cloned().unwrap_or_default();
        let message = record.message();
        if message.is_some_and(|m| m.sender == missing.receiver) {
            // Its own message: what is missing is the ack, which the session itself misses.
            return at + 1;
        }
        if record.acked.is_some() && record.relayed.is_none() {
            self.lost += 1;
            self.ack_without_relay(missing, at, message);
        } else {
            self.lost_relay(missing, at, message);
        }
        at + 1
    }

    fn lost_relay(&mut self, missing: &Missing, seq: u64, message: Option<Message>) {
        self.lost += 1;
        let receiver = self.directory.name(missing.receiver);
        let what = self.describe(message, seq);
        let proof = match missing.proof {
            Proof::Later(later) => format!("number {later} came without it"),
            Proof::Bye(bye) => format!("its bye counts up to number {bye}"),
        };
        let text = format!("{receiver} never got {what}: {proof}");
        self.violation(
            Kind::LostRelay,
            Some(receiver),
            message,
            Some(seq),
            text,
            missing.at_ns,
        );
    }

    /// One violation for each message, however many receivers miss it.
    fn ack_without_relay(&mut self, missing: &Missing, seq: u64, message: Option<Message>) {
        if !self.first_time(NO_RECEIVER, seq, seq) {
            return;
        }
        let what = self.describe(message, seq);
        let text = format!("{what} was acked and reached none of the receivers that were present");
        self.violation(
            Kind::AckWithoutRelay,
            None,
            message,
            Some(seq),
            text,
            missing.at_ns,
        );
    }

    /// One violation for each run of skipped numbers, however many sessions noticed.
    fn sequence_gap(&mut self, missing: &Missing, from: u64, until: u64) {
        if self.gaps.iter().any(|&(f, u)| from < u && f < until) {
            return;
        }
        self.gaps.push((from, until));
        let last = until - 1;
        let text = if from == last {
            format!("no session got anything numbered {from}: the number was skipped")
        } else {
            format!("no session got anything numbered {from} to {last}: the numbers were skipped")
        };
        self.violation(
            Kind::SequenceGap,
            None,
            None,
            Some(from),
            text,
            missing.at_ns,
        );
    }

    /// Settles the oldest number.
    fn settle_next(&mut self, settled: &mut impl FnMut(Settled)) {
        let Some(record) = self.records.front().cloned() else {
            return;
        };
        let seq = self.base;
        self.settle_anomalies(seq, &record);
        if let Some(relayed) = &record.relayed {
            settled(Settled {
                intended_ns: relayed.intended_ns,
                first_ns: relayed.first_ns,
                last_ns: relayed.last_ns,
                receivers: relayed.receivers,
            });
        }
        if let Some(message) = record.message() {
            self.check_fifo(seq, message, &record);
            if self.recent.len() == NEIGHBOURS as usize {
                self.recent.pop_front();
            }
            self.recent.push_back((seq, message));
        }
        if let Some(acked) = record.acked {
            self.check_real_time(seq, &acked);
        }
        self.records.pop_front();
        self.base += 1;
    }

    fn settle_anomalies(&mut self, seq: u64, record: &Record) {
        if self
            .conflicts
            .first_key_value()
            .is_some_and(|(&s, _)| s <= seq)
            || record.acked_too.is_some()
        {
            self.judge_conflicts(seq, record);
        }
        if self
            .behind
            .first_key_value()
            .is_some_and(|(&s, _)| s <= seq)
        {
            for (at, behind) in take_up_to(&mut self.behind, seq) {
                self.judge_behind(at, behind, record);
            }
        }
        if self.late.first_key_value().is_some_and(|(&s, _)| s <= seq) {
            for (at, late) in take_up_to(&mut self.late, seq) {
                self.judge_late(at, late, record);
            }
        }
        if !self.irregular.is_empty() {
            self.judge_irregular(seq + 1);
        }
    }

    /// What is left of anomalies about numbers that nobody vouched for.
    fn settle_loose_ends(&mut self, until: u64) {
        let nothing = Record::default();
        for (seq, conflicts) in take_up_to(&mut self.conflicts, until.saturating_sub(1)) {
            self.conflicts.entry(seq).or_default().push(conflicts);
            self.judge_conflicts(seq, &nothing);
        }
        for (seq, behind) in take_up_to(&mut self.behind, until.saturating_sub(1)) {
            self.judge_behind(seq, behind, &nothing);
        }
        for (seq, late) in take_up_to(&mut self.late, until.saturating_sub(1)) {
            self.judge_late(seq, late, &nothing);
        }
        if !self.irregular.is_empty() {
            self.judge_irregular(until);
        }
    }

    /// More than one message is claimed to be number `seq`. The acks say which it is; failing
    /// that, what most receivers got.
    fn judge_conflicts(&mut self, seq: u64, record: &Record) {
        let conflicts: Vec<Conflict> = take_up_to(&mut self.conflicts, seq)
            .into_iter()
            .map(|(_, c)| c)
            .collect();
        let mut claims = conflicts;
        if let Some(relayed) = &record.relayed {
            claims.push(Conflict {
                receiver: relayed.first_receiver,
                claim: relayed.message,
                receivers: relayed.receivers,
                at_ns: relayed.first_ns,
            });
        }
        let Some(truth) = record
            .acked
            .map(|a| a.message)
            .or_else(|| majority(&claims))
        else {
            return;
        };
        if let Some(second) = record.acked_too {
            self.reused(seq, truth, second, claims.first().map_or(0, |c| c.at_ns));
        }
        for conflict in claims.iter().filter(|c| c.claim != truth) {
            if record.acked_too == Some(conflict.claim) {
                continue;
            }
            match self.number_of(conflict.claim, seq) {
                Some(other) => self.diverged(seq, other, truth, conflict),
                None => self.reused(seq, truth, conflict.claim, conflict.at_ns),
            }
        }
    }

    fn diverged(&mut self, seq: u64, other: u64, truth: Message, conflict: &Conflict) {
        let pair = (seq.min(other), seq.max(other));
        if !self.first_time(conflict.receiver, pair.0, pair.1) {
            return; // the other half of the same exchange
        }
        let receiver = self.directory.name(conflict.receiver);
        let (kind, how) = if conflict.claim.sender == truth.sender {
            (Kind::ReorderedRelay, "out of the order they were sent in")
        } else {
            (Kind::OrderDivergence, "in another order than the others")
        };
        let text = format!(
            "{receiver} got {} as number {seq}, which is {}: it saw the two {how}",
            self.describe(Some(conflict.claim), other),
            self.describe(Some(truth), seq),
        );
        let message = Some(conflict.claim);
        self.violation(
            kind,
            Some(receiver),
            message,
            Some(seq),
            text,
            conflict.at_ns,
        );
    }

    fn reused(&mut self, seq: u64, truth: Message, second: Message, at_ns: u64) {
        if !self.first_time(NO_RECEIVER, seq, second.k << 1 | 1) {
            return;
        }
        let text = format!(
            "number {seq} was given to message {} of {} and to message {} of {}",
            truth.k,
            self.directory.name(truth.sender),
            second.k,
            self.directory.name(second.sender)
        );
        self.violation(
            Kind::SequenceReuse,
            None,
            Some(second),
            Some(seq),
            text,
            at_ns,
        );
    }

    fn judge_behind(&mut self, seq: u64, behind: Behind, record: &Record) {
        let message = behind.message;
        let taken = record
            .relayed
            .map(|r| r.message)
            .or(record.acked.map(|a| a.message));
        if let Some(other) = taken.filter(|&m| m != message) {
            return self.reused(seq, other, message, behind.at_ns);
        }
        let sender = self.directory.name(message.sender);
        let text = format!(
            "{sender} sent its message {} after it had seen number {}, and it was numbered {seq}: \
             an effect before its cause",
            message.k, behind.seen
        );
        self.violation(
            Kind::Causality,
            None,
            Some(message),
            Some(seq),
            text,
            behind.at_ns,
        );
    }

    /// Late is measured from when the message was really sent: a generator that was late itself
    /// accuses nobody.
    fn judge_late(&mut self, seq: u64, late: Late, record: &Record) {
        let sent_ns = record
            .acked
            .filter(|a| a.message == late.message)
            .map_or(late.intended_ns, |a| a.sent_ns);
        let took_ns = late.at_ns.saturating_sub(sent_ns);
        if self.late_after_ns.is_some_and(|limit| took_ns <= limit) {
            return;
        }
        let receiver = self.directory.name(late.receiver);
        let text = format!(
            "{receiver} got {} after {:.3} s",
            self.describe(Some(late.message), seq),
            took_ns as f64 / 1e9
        );
        let message = Some(late.message);
        self.violation(
            Kind::LateRelay,
            Some(receiver),
            message,
            Some(seq),
            text,
            late.at_ns,
        );
    }

    /// Lines that were wrong in themselves: alike for several receivers they are one violation.
    fn judge_irregular(&mut self, until: u64) {
        let mut ready: Vec<_> = self
            .irregular
            .extract_if(|(_, seq, _), _| *seq < until)
            .collect();
        ready.sort_by_key(|((kind, seq, _), irregular)| (irregular.at_ns, *kind, *seq));
        for ((kind, seq, _), irregular) in ready {
            let receiver = self.directory.name(irregular.receiver);
            let others = match irregular.receivers - 1 {
                0 => String::new(),
                1 => " and one other".to_owned(),
                n => format!(" and {n} others"),
            };
            let what = match irregular.message {
                Some(message) => self.describe(Some(message), seq),
                None => format!("a relay numbered {seq}"),
            };
            let text = format!("{receiver}{others} got {what} {}", irregular.text);
            let message = irregular.message;
            self.violation(
                kind,
                Some(receiver),
                message,
                Some(seq),
                text,
                irregular.at_ns,
            );
        }
    }

    fn judge_unacked(&mut self) {
        for (message, at_ns) in std::mem::take(&mut self.unacked) {
            if self.stray.contains(&message) {
                continue; // its ack went to another, which is on record
            }
            let sender = self.directory.name(message.sender);
            let text = format!(
                "{sender} said goodbye and never got the ack of its message {}",
                message.k
            );
            self.violation(Kind::MissingAck, None, Some(message), None, text, at_ns);
        }
    }

    /// S5 over all receivers: a sender's messages must be numbered in the order of their k.
    fn check_fifo(&mut self, seq: u64, message: Message, record: &Record) {
        let track = self.senders.entry(message.sender).or_default();
        let at_ns = record.relayed.map_or(0, |r| r.first_ns);
        if message.k > track.last_k {
            let passed_over = track.last_k + 1..message.k;
            track
                .passed_over
                .extend(passed_over.take(NEIGHBOURS as usize));
            let surplus = track.passed_over.len().saturating_sub(NEIGHBOURS as usize);
            track.passed_over.drain(..surplus);
            track.last_k = message.k;
            return;
        }
        let passed_over = track.passed_over.iter().position(|&k| k == message.k);
        let what = self.describe(Some(message), seq);
        if let Some(at) = passed_over {
            let track = self
                .senders
                .get_mut(&message.sender)
                .expect("it was just there");
            track.passed_over.remove(at);
            let text = format!("{what} is numbered behind a later message of its sender, for all");
            self.violation(
                Kind::ReorderedRelay,
                None,
                Some(message),
                Some(seq),
                text,
                at_ns,
            );
        } else {
            let receivers = record.relayed.map_or(0, |r| r.receivers);
            let text =
                format!("{what} had been numbered before; {receivers} receivers got it again");
            self.violation(
                Kind::DuplicateRelay,
                None,
                Some(message),
                Some(seq),
                text,
                at_ns,
            );
        }
    }

    /// S8: nothing numbered before this message may have been sent after its ack.
    fn check_real_time(&mut self, seq: u64, acked: &Acked) {
        if let Some((sent_ns, earlier, earlier_seq)) = self.latest_sent
            && sent_ns > acked.acked_ns
            && self.first_time(NO_RECEIVER, earlier_seq, u64::MAX)
        {
            let text = format!(
                "{} was sent {} µs after the ack of {}, and is ordered before it",
                self.describe(Some(earlier), earlier_seq),
                (sent_ns - acked.acked_ns) / 1000,
                self.describe(Some(acked.message), seq),
            );
            let at_ns = acked.acked_ns;
            self.violation(
                Kind::RealTime,
                None,
                Some(earlier),
                Some(earlier_seq),
                text,
                at_ns,
            );
        }
        if self
            .latest_sent
            .is_none_or(|(sent_ns, ..)| acked.sent_ns > sent_ns)
        {
            self.latest_sent = Some((acked.sent_ns, acked.message, seq));
        }
    }

    /// The number under which `message` is known, if it is one near `seq` but not `seq` itself.
    fn number_of(&self, message: Message, seq: u64) -> Option<u64> {
        let is_it = |r: &Record| {
            r.acked.is_some_and(|a| a.message == message)
                || r.relayed.is_some_and(|r| r.message == message)
        };
        let ahead = self.base..seq + NEIGHBOURS;
        let ahead = ahead
            .filter(|&n| n != seq)
            .find(|&n| self.get(n).is_some_and(is_it));
        let settled = || {
            self.recent
                .iter()
                .find(|(_, m)| *m == message)
                .map(|&(n, _)| n)
        };
        ahead.or_else(settled)
    }

    /// Whether this has not been reported yet.
    fn first_time(&mut self, receiver: SenderId, one: u64, other: u64) -> bool {
        self.exchanges.len() >= MAX_EXCHANGES || self.exchanges.insert((receiver, one, other))
    }

    /// Lets go of sessions of which nothing is under way any more.
    fn forget_ended(&mut self) {
        while let Some(&(session, last_seq)) = self.ended.front() {
            if self.base <= last_seq || !self.missing.is_empty() || !self.irregular.is_empty() {
                break;
            }
            // Unacked messages are judged at the end, and named then.
            if !self.unacked.iter().any(|(m, _)| m.sender == session) {
                self.directory.forget(session);
                self.senders.remove(&session);
            }
            self.ended.pop_front();
        }
    }

    fn describe(&self, message: Option<Message>, seq: u64) -> String {
        match message {
            Some(m) => {
                format!(
                    "message {} of {} (number {seq})",
                    m.k,
                    self.directory.name(m.sender)
                )
            }
            None => format!("number {seq}"),
        }
    }

    fn violation(
        &mut self,
        kind: Kind,
        receiver: Option<String>,
        message: Option<Message>,
        seq: Option<u64>,
        text: String,
        at_ns: u64,
    ) {
        let example = Example {
            text,
            sender: message.map(|m| self.directory.name(m.sender)),
            receiver,
            k: message.map(|m| m.k),
            seq,
            at_ns,
        };
        self.findings.violation(kind, || example);
    }
}

/// Stands for "all receivers alike" where violations are told apart.
const NO_RECEIVER: SenderId = super::reference::NOBODY;

impl Record {
    /// The message that this number is: the ack says so, else the relays do.
    fn message(&self) -> Option<Message> {
        self.acked
            .map(|a| a.message)
            .or(self.relayed.map(|r| r.message))
    }
}

/// The claim that most receivers share; of equals the first.
fn majority(claims: &[Conflict]) -> Option<Message> {
    let mut votes: Vec<(Message, u64)> = Vec::new();
    for conflict in claims {
        match votes.iter_mut().find(|(m, _)| *m == conflict.claim) {
            Some((_, n)) => *n += conflict.receivers,
            None => votes.push((conflict.claim, conflict.receivers)),
        }
    }
    votes
        .into_iter()
        .rev()
        .max_by_key(|&(_, n)| n)
        .map(|(m, _)| m)
}

/// Takes out everything about numbers up to `seq`, in order.
fn take_up_to<T>(map: &mut BTreeMap<u64, Vec<T>>, seq: u64) -> Vec<(u64, T)> {
    let later = if seq == u64::MAX {
        BTreeMap::new()
    } else {
        map.split_off(&(seq + 1))
    };
    std::mem::replace(map, later)
        .into_iter()
        .flat_map(|(at, list)| list.into_iter().map(move |t| (at, t)))
        .collect()
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.optional += other.optional;
        self.duplicated += other.duplicated;
        self.errors_received += other.errors_received;
        self.unknown_frames += other.unknown_frames;
        self.uncompared += other.uncompared;
        self.cut_off += other.cut_off;
        self.unfinished += other.unfinished;
        self.unasked_byes += other.unasked_byes;
    }
}

impl Coverage {
    fn add(&mut self, other: &Self) {
        self.overlapping_sends += other.overlapping_sends;
        self.joins_during_traffic += other.joins_during_traffic;
        self.polite_leaves += other.polite_leaves;
        self.aborts += other.aborts;
        self.split_frames += other.split_frames;
        self.joined_frames += other.joined_frames;
        self.fences_seen += other.fences_seen;
    }
}
