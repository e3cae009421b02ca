//! One timer a shard for everything that is due.
//!
//! tokio's timers tick in milliseconds, which is the size of the latencies to be measured. A
//! timerfd wakes within some 60 µs, and one serves all clients: the fleet keeps a heap of due
//! times.

use std::cmp::Reverse;
use std::io;
use std::rc::Rc;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::shard::Shard;

/// Sends whatever falls due, for ever.
pub(super) async fn pace(shard: Rc<Shard>) -> io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    // tokio deprecated its safe constructor because an arbitrary `AsRawFd` may change its mind
    // about its descriptor. An `OwnedFd` does not, and the successor is `unsafe`.
    #[allow(deprecated)]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    let woken = shard.fleet().wake_pacer.clone();
    loop {
        let next = shard.fleet().due.peek().map(|&Reverse((due_ns, _))| due_ns);
        let Some(due_ns) = next else {
            woken.notified().await;
            continue;
        };
        let now_ns = shard.clock.now_ns();
        if due_ns <= now_ns {
            send_all_due(&shard, now_ns);
            // Whoever has something to read goes first.
            tokio::task::yield_now().await;
            continue;
        }
        arm(&timer, due_ns - now_ns)?;
        tokio::select! {
            ready = timer.readable() => {
                let mut expirations = [0; 8];
                let _ = rustix::io::read(timer.get_ref(), &mut expirations);
                ready?.clear_ready();
            }
            () = woken.notified() => {}
        }
    }
}

fn arm(timer: &AsyncFd<rustix::fd::OwnedFd>, after_ns: u64) -> io::Result<()> {
    let it_value = Timespec {
        tv_sec: (after_ns / 1_000_000_000) as i64,
        tv_nsec: (after_ns % 1_000_000_000) as i64,
    };
    let it_interval = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let once = Itimerspec {
        it_interval,
        it_value,
    };
    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}

fn send_all_due(shard: &Rc<Shard>, now_ns: u64) {
    let mut fleet = shard.fleet();
    while let Some(&Reverse((due_ns, client))) = fleet.due.peek() {
        if due_ns > now_ns {
            return;
        }
        fleet.due.pop();
        fleet.send_due(client as usize, now_ns, false);
    }
}
