//! A link between two hosts, packet by packet: each may come late, twice, before an earlier one, or
//! never. The hosts are network namespaces of this test's own, each with a TUN device; what the
//! kernel of one sends is read here, and written to the other's when it is due. So TCP sees a real
//! bad network, whatever qdiscs the kernel has.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use smoltcp::phy::{Device as _, Medium, RxToken as _, TunTapInterface, TxToken as _};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// The hosts' addresses.
pub(crate) const SERVER: &str = "10.77.0.1";
const DRIVER: &str = "10.77.0.2";

/// Packets that may be under way; what comes beyond them is lost, as in a router.
const UNDER_WAY: usize = 1 << 14;

/// What happens to a packet, either way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) delay: Duration,
    /// Up to so much more, drawn for each: packets overtake one another.
    pub(crate) jitter: Duration,
    /// The share that is lost, and that comes twice.
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// The longest packet.
    pub(crate) mtu: u32,
}

impl Quality {
    /// Nothing is wrong with it.
    pub(crate) const GOOD: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicates: 0.0,
        mtu: 1500,
    };
}

/// What the link did: a test that wants a bad network checks that it was one.
#[derive(Debug, Default)]
pub(crate) struct Done {
    carried: Mutex<u64>,
    carried_more: Condvar,
    pub(crate) lost: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) overtook: AtomicU64,
    /// Packets that came while the link was cut.
    pub(crate) cut: AtomicU64,
}

impl Done {
    /// Waits until so many packets were carried.
    pub(crate) fn wait_for(&self, packets: u64) {
        let carried = self.carried.lock().unwrap();
        let more = self.carried_more.wait_while(carried, |c| *c < packets);
        drop(more.unwrap());
    }

    pub(crate) fn carried(&self) -> u64 {
        *self.carried.lock().unwrap()
    }
}

/// A link that is up.
pub(crate) struct Link {
    pub(crate) server: Host,
    pub(crate) driver: Host,
    pub(crate) done: Arc<Done>,
    is_cut: Arc<AtomicBool>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    carrier: Option<JoinHandle<()>>,
}

/// A network namespace, which lasts as long as the process that holds it.
pub(crate) struct Host {
    holder: Child,
}

impl Link {
    /// Makes both hosts and the link. It takes root, `/dev/net/tun`, and the tools of util-linux
    /// and iproute2; the error says what is missing.
    pub(crate) fn new(quality: Quality) -> io::Result<Self> {
        let (server, driver) = (Host::new()?, Host::new()?);
        let done = Arc::new(Done::default());
        let is_cut = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (made, is_made) = mpsc::channel();
        let (its_done, its_cut) = (done.clone(), is_cut.clone());
        // The devices are read and written by the one thread that made them.
        let carrier = thread::spawn(move || {
            let devices = [device(), device()];
            let [Ok((one, its_name)), Ok((other, others_name))] = devices else {
                let failed = devices.into_iter().find_map(Result::err);
                let _ = made.send(Err(failed.unwrap_or_else(|| io::ErrorKind::Other.into())));
                return;
            };
            let (up, is_up) = mpsc::channel();
            if made.send(Ok(([its_name, others_name], up))).is_err() || is_up.recv().is_err() {
                return;
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                // Deprecated, for a type could change the descriptor that it says it has. This one
                // keeps its own, and what replaces it is `unsafe`.
                #[allow(deprecated)]
                let ends = [one, other].map(|device| AsyncFd::new(device).unwrap());
                tokio::select! {
                    () = carry(ends, quality, &its_done, &its_cut) => {}
                    _ = stopped => {}
                }
            });
        });
        let (names, up) = is_made.recv().map_err(io::Error::other)??;
        for (name, (host, own, peer)) in names
            .iter()
            .zip([(&server, SERVER, DRIVER), (&driver, DRIVER, SERVER)])
        {
            host.take(name, own, peer, quality.mtu)?;
        }
        up.send(()).map_err(io::Error::other)?;
        Ok(Self {
            server,
            driver,
            done,
            is_cut,
            stop: Some(stop),
            carrier: Some(carrier),
        })
    }

    /// From now on nothing gets through, either way; or everything does again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // Before the namespaces go, for the devices go with them.
        let carried = self.carrier.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(carried.is_some_and(|c| c.is_ok()), "the link broke");
        }
    }
}

impl Host {
    fn new() -> io::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped()) // it ends when this is closed
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("unshare: {e}")))?;
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let output = holder.wait_with_output()?;
            let says = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(io::Error::other(says));
        }
        let host = Self { holder };
        host.ip(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// `program` on this host, not started yet.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = format!("--net=/proc/{}/ns/net", self.holder.id());
        command.args([&namespace, "--", program]);
        command
    }

    /// Moves a device of this process' namespace to this host, and sets it up.
    fn take(&self, device: &str, own: &str, peer: &str, mtu: u32) -> io::Result<()> {
        let (pid, mtu) = (self.holder.id().to_string(), mtu.to_string());
        run(Command::new("ip").args(["link", "set", "dev", device, "netns", &pid]))?;
        self.ip(&["addr", "add", own, "peer", peer, "dev", device])?;
        self.ip(&["link", "set", "dev", device, "mtu", &mtu, "up"])
    }

    fn ip(&self, args: &[&str]) -> io::Result<()> {
        run(self.command("ip").args(args))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| io::Error::new(e.kind(), format!("{command:?}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let says = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", says.trim())))
}

/// A TUN device, and its name.
fn device() -> io::Result<(TunTapInterface, String)> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("cb{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
    let device = TunTapInterface::new(&name, Medium::Ip)
        .map_err(|e| io::Error::new(e.kind(), format!("/dev/net/tun: {e}")))?;
    Ok((device, name))
}

/// A packet on its way: when it is due, its number, where it goes to.
type UnderWay = Reverse<(Instant, u64, usize, Vec<u8>)>;

async fn carry(
    mut ends: [AsyncFd<TunTapInterface>; 2],
    quality: Quality,
    done: &Done,
    is_cut: &AtomicBool,
) {
    let mut rng = Pcg64::seed_from_u64(11);
    let mut under_way: BinaryHeap<UnderWay> = BinaryHeap::new();
    let mut order = 0;
    let mut newest = [0; 2];
    loop {
        let due = under_way.peek().map(|Reverse((due, ..))| *due);
        let [one, other] = &mut ends;
        let (from, packets) = tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(Reverse((_, order, to, packet))) = under_way.pop() else { continue };
                if order < newest[to] {
                    done.overtook.fetch_add(1, Relaxed);
                }
                newest[to] = newest[to].max(order);
                *done.carried.lock().unwrap() += 1;
                done.carried_more.notify_all();
                write(ends[to].get_mut(), &packet);
                continue;
            }
            packets = read(one) => (0, packets),
            packets = read(other) => (1, packets),
        };
        let now = Instant::now();
        for packet in packets {
            if is_cut.load(Relaxed) {
                done.cut.fetch_add(1, Relaxed);
                continue;
            }
            if rng.random_bool(quality.loss) || under_way.len() >= UNDER_WAY {
                done.lost.fetch_add(1, Relaxed);
                continue;
            }
            let twice = rng.random_bool(quality.duplicates);
            done.doubled.fetch_add(u64::from(twice), Relaxed);
            for _ in 0..=usize::from(twice) {
                order += 1;
                let jitter = quality.jitter.mul_f64(rng.random::<f64>());
                let due = now + quality.delay + jitter;
                under_way.push(Reverse((due, order, 1 - from, packet.clone())));
            }
        }
    }
}

/// All packets that there are, at least one.
async fn read(end: &mut AsyncFd<TunTapInterface>) -> Vec<Vec<u8>> {
    loop {
        let mut ready = end.readable_mut().await.expect("a runtime with a driver");
        let mut packets = Vec::new();
        let now = smoltcp::time::Instant::now();
        while let Some((packet, _)) = ready.get_inner_mut().receive(now) {
            packets.push(packet.consume(|bytes| bytes.to_vec()));
        }
        ready.clear_ready();
        if !packets.is_empty() {
            return packets;
        }
    }
}

fn write(device: &mut TunTapInterface, packet: &[u8]) {
    let now = smoltcp::time::Instant::now();
    if let Some(slot) = device.transmit(now) {
        slot.consume(packet.len(), |bytes| bytes.copy_from_slice(packet));
    }
}

/// A link of this quality; `None` where this machine does not let one be made, which is said. In
/// CI there has to be one.
pub(crate) fn link(quality: Quality) -> Option<Link> {
    match Link::new(quality) {
        Ok(link) => Some(link),
        Err(error) if std::env::var_os("CI").is_none() => {
            // Past the test harness, which shows nothing of a test that passes.
            let _ = writeln!(
                io::stderr(),
                "SKIPPED, nothing was tested: no link between network namespaces ({error}); run \
                 as root, or under `unshare --user --map-root-user --net`"
            );
            None
        }
        Err(error) => panic!("CI has to have a bad network: {error}"),
    }
}
