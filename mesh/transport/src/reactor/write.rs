//! What connections are told, as far as the kernel takes it.

use std::io;

use super::{Closed, ConnId, Io};
use crate::kernel::Kernel;
use crate::table::Conn;

impl Io {
    /// Writes every connection that has something, once; those that still have something to read stay listed.
    pub(super) fn write_busy(&mut self) {
        let busy = std::mem::take(&mut self.flow.busy);
        for id in busy {
            self.write(id);
            self.flow.had_its_turn(id);
        }
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(super) fn write(&mut self, id: ConnId) {
        let Some(conn) = self.flow.table.get(id) else { return };
        match drain(self.kernel.as_mut(), id.index(), conn) {
            Ok(()) => self.flow.written(id, self.now),
            Err(reason) => self.flow.end(id, reason),
        }
    }
}

fn drain(kernel: &mut dyn Kernel, key: usize, conn: &mut Conn) -> Result<(), Closed> {
    while !conn.link.unsent().is_empty() {
        match kernel.write(key, conn.link.unsent()) {
            Ok(0) => return Err(Closed::ByPeer),
            Ok(n) => conn.link.sent(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A connection that is still being opened; its first writability event comes later.
            Err(e) if e.kind() == io::ErrorKind::NotConnected && !conn.is_announced() => break,
            Err(e) => return Err(Closed::Io(e.kind())),
        }
    }
    Ok(())
}
