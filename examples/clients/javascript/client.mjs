// Sends events to an order and prints the replies:  node client.mjs [ADDRESS,...] [KEY]   (needs zeromq from npm)

import { Dealer } from 'zeromq';

const [addresses = 'tcp://127.0.0.1:7400', key = 'javascript'] = process.argv.slice(2);
// Nothing waits for a daemon that is not there.
const socket = new Dealer({ immediate: true, linger: 0, sendTimeout: 5000, receiveTimeout: 5000 });
for (const address of addresses.split(',')) socket.connect(address);

const requests = [
  { op: 'send', event: { type: 'ADD', price: 1500, quantity: 2 } },
  { op: 'send', event: { type: 'PAY', amount: 1000 } },
  { op: 'send', event: { type: 'PAY', amount: 2000 } },
  { op: 'get' }
];
// One after the other: of several daemons each gets the next request, and only an answer says that one was done.
for (const [index, request] of requests.entries()) {
  await socket.send(JSON.stringify({ id: index + 1, machine: 'order', key, ...request }));
  const [reply] = await socket.receive();
  console.log(reply.toString()); // in JSON, as asked; `id` says which request it answers
}
socket.close();
