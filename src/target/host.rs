//! One `HOST:PORT` of a URL with all the addresses that its name stands for: `localhost` is
//! `[::1]` and `127.0.0.1` on many systems, and a server may listen on one of them alone.
//!
//! All are tried as in RFC 8305 ("happy eyeballs"): one after another, alternating families, the
//! next one as soon as one has failed or has not answered for a moment. The first that accepts a
//! connection is the host's address from then on. Later connections use no other, since a second
//! server might listen there, and no message passes between two servers.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::TargetError;
use crate::net::{Net, Stream};

/// How long to wait for an answer before the next address is tried too. RFC 8305, section 5.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// A host and a port to connect to.
#[derive(Debug)]
pub struct Host {
    /// `HOST:PORT`, as it was asked for.
    name: String,
    /// In the order in which they are tried; at least one.
    addresses: Vec<SocketAddr>,
    /// The one that first accepted a connection.
    answered: OnceLock<SocketAddr>,
    /// The network that it is reached over.
    net: Net,
}

impl Host {
    /// Resolves `HOST:PORT`.
    ///
    /// # Errors
    /// [`TargetError`] names the address and what is wrong with it.
    pub async fn resolve(address: &str) -> Result<Self, TargetError> {
        let found = lookup_host(address).await;
        let found = found.map_err(|source| TargetError::Unresolvable {
            address: address.to_owned(),
            source,
        })?;
        let addresses = families_in_turn(found);
        if addresses.is_empty() {
            return Err(TargetError::Nowhere {
                address: address.to_owned(),
            });
        }
        Ok(Self::of(address.to_owned(), addresses))
    }

    fn of(name: String, addresses: Vec<SocketAddr>) -> Self {
        Self {
            name,
            addresses,
            answered: OnceLock::new(),
            net: Net::System,
        }
    }

    /// The same, reached over another network than the system's.
    #[must_use]
    pub fn over(self, net: Net) -> Self {
        Self { net, ..self }
    }

    /// The network that it is reached over.
    #[must_use]
    pub fn net(&self) -> Net {
        self.net.clone()
    }

    /// The same host, reached by way of a proxy in clear: it keeps the name that it was asked for
    /// by, which clients tell it.
    #[must_use]
    pub fn by_way_of(&self, proxy: SocketAddr) -> Self {
        Self::of(self.name.clone(), vec![proxy])
    }

    /// `HOST:PORT`, as it was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All addresses that its name stands for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connects to the address that answered before, or to the first that does.
    ///
    /// # Errors
    /// The system's error; for several addresses, one error that holds that of each.
    pub async fn connect(&self) -> io::Result<Stream> {
        let address = match (self.answered.get(), self.addresses.as_slice()) {
            (Some(address), _) | (None, [address]) => *address,
            (None, several) => {
                let (address, stream) = first_to_answer(&self.net, several).await?;
                let answered = *self.answered.get_or_init(|| address);
                if answered == address {
                    return Ok(stream);
                }
                answered // another connection was established first, at another address
            }
        };
        self.net.connect(address).await
    }
}

/// A host that is one address.
impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Self {
        Self::of(address.to_string(), vec![address])
    }
}

/// A host that is any of several addresses.
impl FromIterator<SocketAddr> for Host {
    fn from_iter<T: IntoIterator<Item = SocketAddr>>(addresses: T) -> Self {
        let addresses = families_in_turn(addresses.into_iter());
        let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        Self::of(names.join(","), addresses)
    }
}

/// Each address once, alternating between the first's family and the other, otherwise in the order
/// given, which is the system's preference (RFC 6724).
fn families_in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = all.iter().partition(|a| a.is_ipv6() == first_is_v6);
    let longer = one.len().max(other.len());
    (0..longer)
        .flat_map(|i| [one.get(i), other.get(i)])
        .flatten()
        .copied()
        .collect()
}

/// Connects to whichever of `addresses` answers first, the earlier ones with a head start.
async fn first_to_answer(net: &Net, addresses: &[SocketAddr]) -> io::Result<(SocketAddr, Stream)> {
    let mut attempts = JoinSet::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut untried = addresses.iter().copied();
    loop {
        if let Some(address) = untried.next() {
            let net = net.clone();
            attempts.spawn(async move { (address, net.connect(address).await) });
        }
        let next_is_there = untried.len() > 0;
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok((address, Ok(stream)))) => return Ok((address, stream)),
                Some(Ok((address, Err(error)))) => failures.push((address, error)),
                Some(Err(panic)) => return Err(io::Error::other(panic)),
                None => return Err(all_of(&failures)),
            },
            () = sleep(NEXT_AFTER), if next_is_there => {}
        }
    }
}

/// Combines several errors, one per address, into one.
fn all_of(failures: &[(SocketAddr, io::Error)]) -> io::Error {
    let kind = failures
        .first()
        .map_or(io::ErrorKind::Other, |f| f.1.kind());
    let each: Vec<String> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    io::Error::new(kind, each.join("; "))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn of(addresses: &[SocketAddr]) -> Host {
        Host::of("host:1".to_owned(), addresses.to_vec())
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// The same port of another loopback address, where nobody listens.
    fn refusing(address: SocketAddr, host: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, host], address.port()))
    }

    #[test]
    fn the_families_take_turns_and_each_address_comes_once() {
        let found = addresses(&[
            "[::1]:1",
            "[::1]:1",
            "[::2]:1",
            "127.0.0.1:1",
            "127.0.0.1:1",
        ]);
        assert_eq!(
            families_in_turn(found.into_iter()),
            addresses(&["[::1]:1", "127.0.0.1:1", "[::2]:1"])
        );
        let found = addresses(&["127.0.0.1:1", "127.0.0.2:1"]);
        assert_eq!(families_in_turn(found.clone().into_iter()), found);
        assert_eq!(families_in_turn(std::iter::empty()), []);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let (_listener, open) = listener().await;
        let host = of(&[refusing(open, 2), refusing(open, 3), open]);
        let stream = host.connect().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn an_address_that_keeps_silent_does_not_hold_up_the_next() {
        let (_listener, open) = listener().await;
        // A listener whose queue is full does not answer, on loopback too.
        let silent =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&refusing(open, 4).into()).unwrap();
        silent.listen(0).unwrap();
        let full = refusing(open, 4);
        let mut waiting = JoinSet::new();
        for _ in 0..4 {
            waiting.spawn(TcpStream::connect(full));
        }
        let host = of(&[full, open]);
        let stream = host.connect().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn all_connections_of_a_host_go_to_the_address_that_answered_first() {
        let (first, one) = listener().await;
        let other = TcpListener::bind(refusing(one, 2)).await.unwrap();
        let host = of(&[one, other.local_addr().unwrap()]);
        host.connect().await.unwrap();
        drop(first);
        let error = host.connect().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn of_several_addresses_that_all_fail_each_is_named() {
        let (listener, gone) = listener().await;
        drop(listener);
        let host = of(&[gone, refusing(gone, 2)]);
        let error = host.connect().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        for address in host.addresses() {
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
    }
}
