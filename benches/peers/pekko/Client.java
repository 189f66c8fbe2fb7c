import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pekko.actor.AbstractActor;
import org.apache.pekko.actor.ActorRef;
import org.apache.pekko.actor.ActorSystem;
import org.apache.pekko.actor.Props;
import org.apache.pekko.cluster.sharding.ClusterSharding;

/**
 * A second node, with the sharding proxy that a Pekko application would use, and one actor behind it that keeps requests in
 * flight: by `tell`, which is cheaper than `ask`. Runs a round for each line of stdin and ends with it. A line is
 *
 * <p>REQUESTS_FILE REQUEST_BYTES IN_FLIGHT WARM_UP_MS MEASURED_MS
 *
 * <p>and a round's result is what load.h says. Argument: the port of the node to join.
 */
public final class Client {
    private static final long PATIENCE_MS = 20_000;

    /** What a round gave. */
    private record Result(long errors, long answered, long[] latencies) {}

    /** One round. */
    private record Round(byte[][] requests, int inFlight, long warmUpNanos, long measuredNanos, CompletableFuture<Result> result) {
        static Round read(String line) throws Exception {
            String[] words = line.split(" ");
            byte[] all = Files.readAllBytes(Path.of(words[0]));
            int size = Integer.parseInt(words[1]);
            byte[][] requests = new byte[all.length / size][];
            Arrays.setAll(requests, i -> Arrays.copyOfRange(all, i * size, (i + 1) * size));
            return new Round(requests, Integer.parseInt(words[2]), Long.parseLong(words[3]) * 1_000_000,
                Long.parseLong(words[4]) * 1_000_000, new CompletableFuture<>());
        }
    }

    /** Keeps requests in flight; a request's id is its slot. */
    static final class Load extends AbstractActor {
        private final ActorRef lamps;
        private Round round;
        private long[] since;
        private long[] latencies = new long[1 << 20];
        private int recorded;
        private int turn;
        private int open;
        private long begin;
        private long end;
        private long errors;
        private long answered;

        Load(ActorRef lamps) {
            this.lamps = lamps;
        }

        @Override
        public Receive createReceive() {
            return receiveBuilder().match(byte[].class, this::settle).match(Round.class, this::start).build();
        }

        private void start(Round next) {
            round = next;
            since = new long[next.inFlight];
            recorded = 0;
            errors = answered = 0;
            begin = System.nanoTime() + next.warmUpNanos;
            end = begin + next.measuredNanos;
            open = next.inFlight;
            for (int slot = 0; slot < next.inFlight; slot++) {
                send(slot, System.nanoTime());
            }
        }

        private void send(int slot, long now) {
            byte[] request = round.requests[turn++ % round.requests.length].clone();
            ByteBuffer.wrap(request).putInt(Lamps.ID_AT, slot);
            since[slot] = now;
            lamps.tell(request, getSelf());
        }

        private void settle(byte[] reply) {
            long now = System.nanoTime();
            int slot = ByteBuffer.wrap(reply).getInt(Lamps.ID_AT);
            if (slot < 0 || slot >= since.length || since[slot] == 0) {
                errors++;
                return;
            }
            answered++;
            if (since[slot] >= begin && since[slot] < end) {
                if (recorded == latencies.length) {
                    latencies = Arrays.copyOf(latencies, 2 * recorded);
                }
                latencies[recorded++] = now - since[slot];
            }
            since[slot] = 0;
            if (now < end) {
                send(slot, now);
            } else if (--open == 0) {
                round.result.complete(new Result(errors, answered, Arrays.copyOf(latencies, recorded)));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        ActorSystem system = Lamps.node("client", Integer.parseInt(arguments[0]));
        ActorRef proxy = ClusterSharding.get(system).startProxy(Lamps.TYPE, Optional.of("lamps"), new Lamps.Keys());
        ActorRef load = system.actorOf(Props.create(Load.class, () -> new Load(proxy)));
        var lines = new BufferedReader(new InputStreamReader(System.in));
        var out = new BufferedOutputStream(System.out, 1 << 20);
        for (String line; (line = lines.readLine()) != null; ) {
            long cpu = cpuNanos();
            Round round = Round.read(line);
            load.tell(round, ActorRef.noSender());
            long patience = PATIENCE_MS + (round.warmUpNanos + round.measuredNanos) / 1_000_000;
            write(out, round.result.get(patience, TimeUnit.MILLISECONDS), cpu);
        }
        System.exit(0);
    }

    private static void write(OutputStream out, Result result, long cpuBefore) throws Exception {
        ByteBuffer bytes = ByteBuffer.allocate(8 * (4 + result.latencies.length)).order(ByteOrder.nativeOrder());
        bytes.putLong(result.errors).putLong(cpuNanos() - cpuBefore).putLong(result.answered).putLong(result.latencies.length);
        bytes.asLongBuffer().put(result.latencies);
        out.write(bytes.array());
        out.flush();
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }
}
