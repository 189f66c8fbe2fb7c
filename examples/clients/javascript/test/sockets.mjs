// Pays orders over one socket of a kind and prints the replies:  node test/sockets.mjs ADDRESS KIND COUNT   (run by check.py)

import { Dealer, Request } from 'zeromq';

const [address, kind, count] = process.argv.slice(2);
const patience = { linger: 0, sendTimeout: 5000, receiveTimeout: 5000 };
const kinds = {
  req: () => new Request(patience),
  dealer: () => new Dealer(patience),
  'correlating-req': () => new Request({ ...patience, correlate: true, relaxed: true }),
  'probing-req': () => new Request({ ...patience, probeRouter: true }),
  'probing-dealer': () => new Dealer({ ...patience, probeRouter: true })
};
const socket = kinds[kind]();
socket.connect(address);

// Where nothing is there but the answer to a request that was given up, zeromq.js 6.8 fails at once with EAGAIN, as if the time were over.
async function receive() {
  for (const end = Date.now() + 5000; ; ) {
    try {
      return await socket.receive();
    } catch (error) {
      if (error.code !== 'EAGAIN' || Date.now() >= end) throw error;
    }
  }
}

for (let number = 0; number < Number(count); number++) {
  const id = `javascript-${kind}-${number}`;
  // One that is given up for the next: its answer is not to be taken for that of the next.
  if (kind === 'correlating-req') await socket.send(JSON.stringify({ op: 'ping', id: 'given up' }));
  await socket.send(JSON.stringify({ op: 'send', id, machine: 'order', key: id, event: { type: 'PAY', amount: 1 } }));
  const [reply] = await receive();
  console.log(reply.toString());
}
socket.close();
