// Sends events to an order and prints the replies:  java -cp 'lib/*' Client.java [ADDRESS,...] [KEY]   (needs JeroMQ)

import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;

public class Client {
    public static void main(String[] args) {
        String addresses = args.length > 0 ? args[0] : "tcp://127.0.0.1:7400";
        String key = args.length > 1 ? args[1] : "java";
        String[] requests = {
            "\"op\":\"send\",\"event\":{\"type\":\"ADD\",\"price\":1500,\"quantity\":2}",
            "\"op\":\"send\",\"event\":{\"type\":\"PAY\",\"amount\":1000}",
            "\"op\":\"send\",\"event\":{\"type\":\"PAY\",\"amount\":2000}",
            "\"op\":\"get\"",
        };
        String order = ",\"machine\":\"order\",\"key\":\"" + key + "\",";
        try (ZContext context = new ZContext()) {
            ZMQ.Socket socket = context.createSocket(SocketType.DEALER);
            socket.setReceiveTimeOut(5000); // milliseconds
            socket.setSendTimeOut(5000);
            socket.setImmediate(false); // nothing waits for a daemon that is not there (JeroMQ means the opposite of libzmq)
            for (String address : addresses.split(",")) socket.connect(address);
            // One after the other: of several daemons each gets the next request, and only an answer says that one was done.
            for (int i = 0; i < requests.length; i++) {
                socket.send("{\"id\":" + (i + 1) + order + requests[i] + "}");
                String reply = socket.recvStr(); // in JSON, as asked; `id` says which request it answers
                if (reply == null) throw new IllegalStateException("no reply within 5 s from " + addresses);
                System.out.println(reply);
            }
        }
    }
}
