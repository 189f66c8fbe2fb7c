// Pays an order over CURVE, by the first daemon that can be reached:
//
//     java -cp 'lib/*' Curve.java tcp://HOST:PORT,tcp://HOST:PORT SERVER_KEY PUBLIC_KEY SECRET_KEY [KEY]   (needs JeroMQ)

import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;

public class Curve {
    public static void main(String[] args) {
        String key = args.length > 4 ? args[4] : "curve-java";
        try (ZContext context = new ZContext()) {
            ZMQ.Socket socket = context.createSocket(SocketType.DEALER);
            socket.setReceiveTimeOut(5000); // milliseconds
            socket.setSendTimeOut(5000);
            socket.setImmediate(false); // nothing waits for a daemon that is not there (JeroMQ means the opposite of libzmq)
            socket.setCurveServerKey(ZMQ.Curve.z85Decode(args[1]));
            socket.setCurvePublicKey(ZMQ.Curve.z85Decode(args[2]));
            socket.setCurveSecretKey(ZMQ.Curve.z85Decode(args[3]));
            for (String address : args[0].split(",")) socket.connect(address);
            socket.send("{\"op\":\"send\",\"id\":1,\"machine\":\"order\",\"key\":\"" + key
                + "\",\"event\":{\"type\":\"PAY\",\"amount\":3}}");
            String reply = socket.recvStr();
            if (reply == null) throw new IllegalStateException("no reply within 5 s from " + args[0]);
            System.out.println(reply);
        }
    }
}
