import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.pekko.actor.AbstractActor;
import org.apache.pekko.actor.ActorSystem;
import org.apache.pekko.actor.Props;
import org.apache.pekko.cluster.Cluster;
import org.apache.pekko.cluster.sharding.ClusterSharding;
import org.apache.pekko.cluster.sharding.ClusterShardingSettings;
import org.apache.pekko.cluster.sharding.ShardRegion;

/**
 * Apache Pekko cluster sharding: one node that has an entity for each key. It prints its port, and ends with its stdin. Messages
 * are the requests and replies themselves, as byte arrays, which is the cheapest serializer that Pekko has.
 */
public final class Lamps {
    static final String TYPE = "lamp";
    static final int ID_AT = 5;
    private static final int KEY_AT = 35;
    private static final int KEY_BYTES = 12;
    private static final int SHARDS = 100;

    /** The entity of a key: it switches its lamp and answers how it is now, as a daemon would. */
    static final class Lamp extends AbstractActor {
        private static final byte[] HIGH = reply("\u00a4high");
        private static final byte[] LOW = reply("\u00a3low");
        private int switched;

        private static byte[] reply(String state) {
            String text = "\u0084\u00a2id\u00ce0000\u00a2ok\u00c3\u00a5value\u0081\u00a2on" + state + "\u00a3seq\u00ce0000";
            return text.getBytes(StandardCharsets.ISO_8859_1);
        }

        @Override
        public Receive createReceive() {
            return receiveBuilder().match(byte[].class, this::receive).build();
        }

        private void receive(byte[] request) {
            switched++;
            byte[] reply = (switched % 2 == 0 ? LOW : HIGH).clone();
            System.arraycopy(request, ID_AT, reply, ID_AT, Integer.BYTES);
            ByteBuffer.wrap(reply).putInt(reply.length - Integer.BYTES, switched);
            getSender().tell(reply, getSelf());
        }
    }

    /** Finds the key in a request. */
    static final class Keys extends ShardRegion.HashCodeMessageExtractor {
        Keys() {
            super(SHARDS);
        }

        @Override
        public String entityId(Object message) {
            return message instanceof byte[] bytes
                ? new String(bytes, KEY_AT, KEY_BYTES, StandardCharsets.ISO_8859_1)
                : null;
        }
    }

    /** A node on loopback; `seed`: the port of the node to join, 0: it is the first. */
    static ActorSystem node(String role, int seed) {
        Config own = ConfigFactory.parseString(String.join("\n",
            "pekko.actor.provider = cluster",
            "pekko.loglevel = ERROR",
            "pekko.stdout-loglevel = ERROR",
            "pekko.log-dead-letters = off",
            "pekko.remote.artery.canonical { hostname = \"127.0.0.1\", port = 0 }",
            "pekko.cluster.roles = [" + role + "]",
            "pekko.cluster.jmx.enabled = off",
            "pekko.actor.serialization-bindings { \"[B\" = bytes }"));
        ActorSystem system = ActorSystem.create("bench", own.withFallback(ConfigFactory.load()));
        Cluster cluster = Cluster.get(system);
        var address = cluster.selfAddress();
        cluster.join(seed == 0 ? address : address.copy(
            address.protocol(), address.system(), address.host(), scala.Option.apply(seed)));
        return system;
    }

    public static void main(String[] arguments) throws Exception {
        ActorSystem system = node("lamps", 0);
        ClusterSharding.get(system).start(
            TYPE, Props.create(Lamp.class, Lamp::new), ClusterShardingSettings.create(system).withRole("lamps"), new Keys());
        System.out.println(Cluster.get(system).selfAddress().getPort().get());
        System.in.transferTo(java.io.OutputStream.nullOutputStream());
        System.exit(0);
    }
}
