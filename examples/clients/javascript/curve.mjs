// Pays an order over CURVE, by the first daemon that can be reached:
//
//     node curve.mjs tcp://HOST:PORT,tcp://HOST:PORT SERVER_KEY PUBLIC_KEY SECRET_KEY [KEY]   (needs zeromq from npm)

import { Dealer } from 'zeromq';

const [addresses, curveServerKey, curvePublicKey, curveSecretKey, key = 'curve-javascript'] = process.argv.slice(2);
const keys = { curveServerKey, curvePublicKey, curveSecretKey };
// Nothing waits for a daemon that is not there.
const socket = new Dealer({ ...keys, immediate: true, linger: 0, sendTimeout: 5000, receiveTimeout: 5000 });
for (const address of addresses.split(',')) socket.connect(address);

await socket.send(JSON.stringify({ op: 'send', id: 1, machine: 'order', key, event: { type: 'PAY', amount: 3 } }));
const [reply] = await socket.receive();
console.log(reply.toString());
socket.close();
