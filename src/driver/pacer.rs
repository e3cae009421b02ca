//! Sends what is due when it is due: one timer for all clients of a shard, whose fleet keeps a heap
//! of due times.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::shard::Shard;

/// Sends whatever falls due, for ever.
pub(super) async fn pace(shard: Rc<Shard>) -> io::Result<()> {
    let timer = shard.clock.timer()?;
    let woken = shard.fleet().wake_pacer.clone();
    loop {
        let next_ns = shard.fleet().next_due_ns();
        let Some(due_ns) = next_ns else {
            woken.notified().await;
            continue;
        };
        let now_ns = shard.clock.now_ns();
        if due_ns <= now_ns {
            shard.fleet().send_all_due(now_ns);
            // Whoever has something to read goes first.
            tokio::task::yield_now().await;
            continue;
        }
        timer.set_once(Duration::from_nanos(due_ns - now_ns))?;
        tokio::select! {
            biased;
            expired = timer.expired() => { expired?; }
            () = woken.notified() => {}
        }
    }
}
