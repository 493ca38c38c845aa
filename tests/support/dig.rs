//! What a name holds, asked as a resolver asks.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::A;

/// How long an answer is waited for.
const LONG: Duration = Duration::from_secs(5);

/// The addresses of a name, with commas between them, and their TTL; `None`: it has none. Repeated while no answer comes, which may
/// be lost.
pub fn dig(server: SocketAddr, name: &str) -> io::Result<Option<(String, u32)>> {
    let name: Name<Vec<u8>> = name.parse().map_err(io::Error::other)?;
    let mut question = MessageBuilder::new_vec().question();
    question.header_mut().set_id(0x6469);
    question.push((&name, Rtype::A)).map_err(io::Error::other)?;
    let question = question.finish();
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(250)))?;
    let until = Instant::now() + LONG;
    let mut buffer = [0; 1232];
    loop {
        let came = socket.send(&question).and_then(|_| socket.recv(&mut buffer));
        match came {
            Ok(length) => return read(&buffer[..length], &question),
            Err(error) if Instant::now() > until => return Err(error),
            // Nobody listens there yet, or it was lost.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn read(bytes: &[u8], question: &[u8]) -> io::Result<Option<(String, u32)>> {
    let answer = Message::from_octets(bytes).map_err(io::Error::other)?;
    let ours = Message::from_octets(question).map_err(io::Error::other)?;
    if !answer.is_answer(&ours) || !matches!(answer.header().rcode(), Rcode::NOERROR | Rcode::NXDOMAIN) {
        return Err(io::Error::other(format!("answered {}", answer.header().rcode())));
    }
    let records = answer.answer().map_err(io::Error::other)?.limit_to::<A>();
    let records: Vec<_> = records.collect::<Result<_, _>>().map_err(io::Error::other)?;
    let Some(ttl) = records.iter().map(|record| record.ttl().as_secs()).min() else { return Ok(None) };
    let values: Vec<String> = records.iter().map(|record| record.data().addr().to_string()).collect();
    Ok(Some((values.join(","), ttl)))
}
