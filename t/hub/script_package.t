# The folder that make fills is a package for npm: npm packs it, and node imports it by its name.

use lib 't/lib';
use Testing;
use Cwd                 qw(abs_path);
use JSON::PP            qw(decode_json);
use Testing::Developer  qw(needs needs_command);
use Testing::Node       qw(packages_missing);
use Testing::SourceTree qw(slurp write_file);

needs_command($_) for qw(node npm);

my ($package) = map { abs_path("$_/auto/share/dist/EventSource-XS") // () } grep { !ref } @INC;
my $folder    = new_folder;
my $says      = decode_json(slurp("$package/package.json"));

# Runs a command in a folder, without network. Returns what it prints.
sub printed_by {
    my ($where, @command) = @_;
    local %ENV = (
        %ENV,
        npm_config_cache           => "$folder/cache",
        npm_config_offline         => 'true',
        npm_config_update_notifier => 'false'
    );
    my $pid = open my $from, '-|' // die "fork: $!\n";
    if (!$pid) {
        chdir $where                or POSIX::_exit(126);
        exec {$command[0]} @command or POSIX::_exit(127);
    }
    local $/ = undef;
    my $printed = readline $from;
    close $from or die "@command: status $?\n";
    return $printed;
}

subtest 'npm packs the module, the classic script and their types' => sub {
    my ($packed) = @{decode_json(printed_by($package, qw(npm pack --dry-run --json)))};
    is $packed->{name}, 'eventsource-hub', 'the name';
    my @files = map { $_->{path} } @{$packed->{files}};
    is_deeply [sort @files], [sort 'package.json', @{$says->{files}}], 'the files are those of package.json';
    is_deeply [sort @files], [sort map { s{.*/}{}r } grep { -f && !m{/copyright\z} } glob "$package/*"],
        'and all of the folder but the licences of crates, SQL and the admin page';
};

subtest 'each file that package.json names exists' => sub {
    my @named = (@$says{qw(main types)}, map { ref ? values %$_ : $_ } values %{$says->{exports}});
    ok -e "$package/$_", $_ for @named;
};

mkdir "$folder/node_modules" or die "$folder: $!\n";
symlink $package, "$folder/node_modules/eventsource-hub" or die "$folder: $!\n";

subtest 'node imports the module by its name' => sub {
    my $code =
        'import * as hub from "eventsource-hub"; console.log(Object.keys(hub).sort().map(n => `${n} ${typeof hub[n]}`).join())';
    is printed_by($folder, 'node', '--input-type=module', '-e', $code), "Parser function,connect function\n",
        'what it exports';
};

# It exports nothing to a worker, but serves the tabs there.
subtest 'a bundler keeps the module in the script of a worker' => sub {
    needs(packages_missing('t/node'));
    my $bundle = abs_path('t/node/node_modules/.bin/esbuild');
    write_file("$folder/worker.js", "import 'eventsource-hub';\n");
    like printed_by($folder, $bundle, qw(worker.js --bundle --format=esm)), qr/\bonconnect\b/, 'the bundle serves tabs';
};

subtest 'the types fit what a page does' => sub {
    needs(packages_missing('t/node'));
    write_file("$folder/page.ts", <<'TS');
import { connect, type HubErrorEvent, type TransportEvent } from 'eventsource-hub';

const hub = connect('/events', {lastEventId: null});
const onError = ({status}: HubErrorEvent) => status, onTransport = ({reason}: TransportEvent) => reason;
const onMessage = ({data}: MessageEvent<string>) => data, onOpen = (event: Event) => event;
for (const method of ['addEventListener', 'removeEventListener'] as const) {
    hub[method]('error', onError);
    hub[method]('transport', onTransport);
    hub[method]('open', onOpen);
    hub[method]('stock', onMessage);
    hub.state<number>('stock')[method]('change', ({key, value, previous}) => key + value + previous);
    hub.members('people')[method]('change', ({key}) => key);
    hub.members('people')[method]('count', () => hub.members('people').count);
}
TS
    my $compiler = abs_path('t/node/node_modules/.bin/tsc');
    my @options  = qw(--noEmit --strict --target es2022 --module nodenext page.ts);
    is eval { printed_by($folder, $compiler, @options) } // $@, '', 'it compiles';
};

subtest 'the classic script defines one global, as a script and as an import' => sub {
    my $global = 'console.log(Object.keys(globalThis.EventSourceHub).sort().join())';
    my $run    = 'require("vm").runInThisContext(require("fs").readFileSync(process.argv[1], "utf8"))';
    is printed_by($folder, 'node', '-e', "$run; $global", "$package/eventsource-hub.classic.js"), "Parser,connect\n",
        'a script';
    is printed_by($folder, 'node', '--input-type=module', '-e', "import 'eventsource-hub/classic'; $global"),
        "Parser,connect\n",
        'an import';
};

done_testing;
