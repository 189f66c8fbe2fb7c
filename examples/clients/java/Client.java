// Sends events to an order and prints the replies:  java -cp 'lib/*' Client.java [ADDRESS] [KEY]   (needs JeroMQ)

import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;

public class Client {
    public static void main(String[] args) {
        String address = args.length > 0 ? args[0] : "tcp://127.0.0.1:7400";
        String key = args.length > 1 ? args[1] : "java";
        String[] events = {
            "{\"type\":\"ADD\",\"price\":1500,\"quantity\":2}",
            "{\"type\":\"PAY\",\"amount\":1000}",
            "{\"type\":\"PAY\",\"amount\":2000}",
        };
        String order = "\"machine\":\"order\",\"key\":\"" + key + "\"";
        try (ZContext context = new ZContext()) {
            ZMQ.Socket socket = context.createSocket(SocketType.DEALER);
            socket.setReceiveTimeOut(5000); // milliseconds
            socket.connect(address);
            for (int i = 0; i < events.length; i++) {
                socket.send("{\"op\":\"send\",\"id\":" + (i + 1) + "," + order + ",\"event\":" + events[i] + "}");
            }
            socket.send("{\"op\":\"get\",\"id\":4," + order + "}");
            for (int replies = 0; replies < 4; replies++) {
                String reply = socket.recvStr(); // in JSON, as asked; `id` says which request it answers
                if (reply == null) throw new IllegalStateException("no reply within 5 s from " + address);
                System.out.println(reply);
            }
        }
    }
}
