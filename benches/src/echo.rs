//! Contender: an echo by the reactor that the daemon uses, in a process of its own. What it takes is the price of the wire;
//! what a daemon takes beyond it is the price of being a mesh that runs statecharts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use omq_proto::SocketType;
use statemesh_transport::curve::Security;
use statemesh_transport::reactor::Settings;
use statemesh_transport::{Event, Handler, Io, Kind, Listener, MioKernel, Reactor, listen};

use crate::failure::{Outcome, While};

/// Gives every message back.
pub(crate) struct Echo;

impl Handler for Echo {
    fn handle(&mut self, event: Event<'_>, io: &mut Io) {
        if let Event::Message(from, _, message) = event {
            let parts: Vec<&[u8]> = (0..message.len()).filter_map(|part| message.part_slice(part)).collect();
            io.send(from, &parts);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn finished(&self) -> bool {
        false
    }
}

/// A reactor that echoes, on a free port. `spin`: as the daemon's `reactor.spin`.
pub(crate) fn reactor(spin: Duration) -> Outcome<(Reactor<Echo>, SocketAddr)> {
    let settings = Settings { spin, ..Settings::default() };
    let mut kernel = MioKernel::new().while_at("the reactor")?;
    let socket = listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).while_at("a port")?;
    let address = socket.local_addr().while_at("a port")?;
    kernel.listen(socket).while_at("the listener")?;
    let waker = kernel.waker();
    let mut reactor = Reactor::new(settings, Box::new(kernel), waker, Echo);
    let (socket_type, security) = (SocketType::Router, Security::None);
    reactor.listen(Listener {
        number: 0,
        kind: Kind::Guest,
        socket_type,
        message_bytes: settings.message_bytes,
        security,
    });
    Ok((reactor, address))
}

/// Prints its port, and echoes until stdin is closed.
pub(crate) fn serve(spin: Duration) -> Outcome {
    let (mut reactor, address) = reactor(spin)?;
    println!("{}", address.port());
    std::io::stdout().flush().while_at("stdout")?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    reactor.run().while_at("the reactor")
}
