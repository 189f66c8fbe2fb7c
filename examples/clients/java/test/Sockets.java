// Pays orders over one socket of a kind and prints the replies:  java -cp 'lib/*' test/Sockets.java ADDRESS KIND COUNT   (run by check.py)

import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;

public class Sockets {
    public static void main(String[] args) {
        String kind = args[1];
        try (ZContext context = new ZContext()) {
            ZMQ.Socket socket = context.createSocket(kind.endsWith("req") ? SocketType.REQ : SocketType.DEALER);
            socket.setReceiveTimeOut(5000); // milliseconds
            socket.setSendTimeOut(5000);
            boolean correlates = kind.startsWith("correlating");
            if (correlates) {
                socket.setReqCorrelate(true);
                socket.setReqRelaxed(true);
            }
            if (kind.startsWith("probing")) socket.setProbeRouter(true);
            socket.connect(args[0]);
            for (int number = 0; number < Integer.parseInt(args[2]); number++) {
                String id = "java-" + kind + "-" + number;
                // One that is given up for the next: its answer is not to be taken for that of the next.
                if (correlates) socket.send("{\"op\":\"ping\",\"id\":\"given up\"}");
                socket.send("{\"op\":\"send\",\"id\":\"" + id + "\",\"machine\":\"order\",\"key\":\"" + id
                    + "\",\"event\":{\"type\":\"PAY\",\"amount\":1}}");
                String reply = socket.recvStr();
                if (reply == null) throw new IllegalStateException("no reply to " + id);
                System.out.println(reply);
            }
        }
    }
}
