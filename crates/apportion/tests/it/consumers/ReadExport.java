import java.io.BufferedReader;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;

/**
 * Reads all exports of a target with Java's own GZIPInputStream, from manifest to sums; shares no code with the
 * program. {@code java ReadExport.java file TARGET} prints what read_export.py prints; with {@code slow} for
 * {@code file} it reads as from a slow network: few bytes at a time, and never one that is said to be there already.
 */
public class ReadExport {
    private static final List<String> READ =
            List.of("line_item_usage_account_id", "line_item_unblended_cost", "line_item_line_item_description");

    private static class Account {
        private long rows;
        private BigDecimal cost = BigDecimal.ZERO;
        private double sum;
        private long bytes;

        @Override
        public String toString() {
            return "{\"rows\": " + rows + ", \"cost\": \"" + cost.toPlainString() + "\", \"float\": " + sum
                    + ", \"bytes\": " + bytes + "}";
        }
    }

    private static class Slow extends FilterInputStream {
        Slow(InputStream in) {
            super(in);
        }

        @Override
        public int read(byte[] bytes, int start, int length) throws IOException {
            return super.read(bytes, start, Math.min(length, 16));
        }

        @Override
        public int available() {
            return 0;
        }
    }

    /** The cells of the next record; none at the end. */
    private static List<String> record(BufferedReader text) throws IOException {
        List<String> cells = new ArrayList<>();
        StringBuilder cell = new StringBuilder();
        boolean quoted = false;
        for (int next = text.read(); next >= 0; next = text.read()) {
            if (next == '"' && quoted) {
                text.mark(1);
                if (text.read() == '"') {
                    cell.append('"');
                } else {
                    text.reset();
                    quoted = false;
                }
            } else if (next == '"') {
                quoted = true;
            } else if (quoted || (next != ',' && next != '\n')) {
                cell.append((char) next);
            } else {
                cells.add(cell.toString());
                cell.setLength(0);
                if (next == '\n') {
                    return cells;
                }
            }
        }
        return cells;
    }


    private static String read(List<Path> files, boolean slow) throws IOException {
        TreeMap<String, Account> accounts = new TreeMap<>();
        List<String> header = List.of();
        for (Path file : files) {
            InputStream packed = Files.newInputStream(file);
            InputStream bytes = new GZIPInputStream(slow ? new Slow(packed) : packed);
            try (BufferedReader text = new BufferedReader(new InputStreamReader(bytes, StandardCharsets.UTF_8))) {
                header = record(text);
                int[] places = READ.stream().mapToInt(header::indexOf).toArray();
                for (List<String> cells = record(text); !cells.isEmpty(); cells = record(text)) {
                    if (cells.size() != header.size()) {
                        throw new IOException("a row of " + cells.size() + " cells");
                    }
                    Account account = accounts.computeIfAbsent(cells.get(places[0]), id -> new Account());
                    account.rows += 1;
                    account.cost = account.cost.add(new BigDecimal(cells.get(places[1])));
                    account.sum += Double.parseDouble(cells.get(places[1]));
                    account.bytes += cells.get(places[2]).getBytes(StandardCharsets.UTF_8).length;
                }
            }
        }
        String sums = accounts.entrySet().stream()
                .map(of -> "\"" + of.getKey() + "\": " + of.getValue())
                .collect(Collectors.joining(", "));
        String columns = header.stream()
                .map(name -> "[\"" + name + "\", \"String\"]")
                .collect(Collectors.joining(", "));
        return "{\"files\": " + files.size() + ", \"columns\": [" + columns + "], \"accounts\": {" + sums + "}}";
    }

    private static String inside(String manifest, String pattern) {
        Matcher matcher = Pattern.compile(pattern, Pattern.DOTALL).matcher(manifest);
        if (!matcher.find()) {
            throw new IllegalArgumentException("the manifest has no " + pattern);
        }
        return matcher.group(1);
    }

    public static void main(String[] arguments) throws IOException {
        boolean slow = arguments[0].equals("slow");
        Path target = Path.of(arguments[1]);
        List<Path> manifests;
        try (Stream<Path> found = Files.walk(target.resolve("manifests"))) {
            manifests = found.filter(path -> path.toString().endsWith("-Manifest.json")).sorted().collect(Collectors.toList());
        }
        List<String> exports = new ArrayList<>();
        for (Path path : manifests) {
            String manifest = Files.readString(path);
            if (!inside(manifest, "\"compression\"\\s*:\\s*\"([^\"]*)\"").equals("GZIP")) {
                continue;
            }
            String keys = inside(manifest, "\"reportKeys\"\\s*:\\s*\\[([^\\]]*)\\]");
            List<Path> files = Pattern.compile("\"([^\"]*)\"").matcher(keys).results()
                    .map(key -> target.resolve(key.group(1)))
                    .collect(Collectors.toList());
            exports.add("\"" + target.relativize(path) + "\": " + read(files, slow));
        }
        System.out.println("{\"version\": \"" + System.getProperty("java.version") + "\", \"exports\": {"
                + String.join(", ", exports) + "}}");
    }
}
