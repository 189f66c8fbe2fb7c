// Sends events to an order and prints the replies:  node client.mjs [ADDRESS] [KEY]   (needs zeromq from npm)

import { Dealer } from 'zeromq';

const [address = 'tcp://127.0.0.1:7400', key = 'javascript'] = process.argv.slice(2);
const socket = new Dealer({ linger: 0, receiveTimeout: 5000 });
socket.connect(address);

const events = [
  { type: 'ADD', price: 1500, quantity: 2 },
  { type: 'PAY', amount: 1000 },
  { type: 'PAY', amount: 2000 }
];
for (const [index, event] of events.entries()) {
  await socket.send(JSON.stringify({ op: 'send', id: index + 1, machine: 'order', key, event }));
}
await socket.send(JSON.stringify({ op: 'get', id: 4, machine: 'order', key }));
for (let replies = 0; replies < 4; replies++) {
  const [reply] = await socket.receive();
  console.log(reply.toString()); // in JSON, as asked; `id` says which request it answers
}
socket.close();
