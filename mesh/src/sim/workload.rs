//! Clients: each sends numbered events for a key of its own, some at a time, in order.

/// Clients and what became of their events.
#[derive(Debug, Default)]
pub struct Load {
    clients: Vec<Client>,
    stopped: bool,
}

#[derive(Debug)]
struct Client {
    at: usize,
    in_flight_limit: u64,
    sent: u64,
    answered: u64,
    failed: u64,
    down: bool,
}

impl Load {
    pub(super) fn add_client(&mut self, at: usize, in_flight: usize) -> usize {
        self.clients.push(Client {
            at,
            in_flight_limit: in_flight as u64,
            sent: 0,
            answered: 0,
            failed: 0,
            down: false,
        });
        self.clients.len() - 1
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// The member that a client is connected to.
    pub(super) fn member_of(&self, key: usize) -> Option<usize> {
        self.clients.get(key).map(|client| client.at)
    }

    pub(super) fn member_crashed(&mut self, n: usize) {
        let there = self.clients.iter_mut().filter(|client| client.at == n);
        there.for_each(|client| client.down = true);
    }

    pub(super) fn next_event(&mut self, key: usize) -> Option<(usize, u64)> {
        let client = self.clients.get_mut(key)?;
        let under_way = client.sent - client.answered - client.failed;
        if self.stopped || client.down || under_way >= client.in_flight_limit {
            return None;
        }
        client.sent += 1;
        Some((client.at, client.sent))
    }

    pub(super) fn answered(&mut self, key: usize, _number: u64, failed: bool) {
        if let Some(client) = self.clients.get_mut(key) {
            if failed {
                client.failed += 1;
            } else {
                client.answered += 1;
            }
        }
    }

    /// How many clients there are. Their keys are the numbers below.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Events sent by a client.
    #[must_use]
    pub fn sent(&self, key: usize) -> u64 {
        self.clients.get(key).map_or(0, |client| client.sent)
    }

    /// Events answered with success, over all clients.
    #[must_use]
    pub fn answered_in_all(&self) -> u64 {
        self.clients.iter().map(|client| client.answered).sum()
    }

    /// Events answered with an error, over all clients.
    #[must_use]
    pub fn failed_in_all(&self) -> u64 {
        self.clients.iter().map(|client| client.failed).sum()
    }

    /// Is every event of every client whose member lives answered?
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let mut up = self.clients.iter().filter(|client| !client.down);
        up.all(|client| client.sent == client.answered + client.failed)
    }
}
