# The types of the script for pages: what connect returns is an EventSource, as TypeScript sees it.

use lib 't/lib';
use Testing;
use File::Copy qw(copy);
use Testing::Clients::Install;
use Testing::SourceTree qw(write_file);

my $trouble = Testing::Clients::Install->missing('node');
plan skip_all => $trouble if defined $trouble;

my $compiler = Testing::Clients::Install->path('node') . '/typescript/bin/tsc';
my $folder   = new_folder;
copy($_, "$folder/") or die "$_: $!\n" for glob 'share/*.d.ts';

# What the compiler says of a program.
sub problems_of {
    my $program = shift;
    write_file("$folder/page.ts",
        "import { connect } from './eventsource-hub';\nconst hub = connect('/events');\n$program\n");
    my @options = (qw(--noEmit --strict --target es2018 --lib), 'es2018,dom,dom.iterable');
    return scalar qx{node $compiler @options $folder/page.ts $folder/eventsource-hub.classic.d.ts};
}

my @RIGHT = (
    ['an EventSource' => 'const source: EventSource = hub; function takes(source: EventSource) {} takes(hub);'],
    [
        'its members' =>
            'hub.onopen = function () { this.close() }; const all = [hub.url, hub.withCredentials, hub.OPEN];'
    ],
    ['data is text' => 'hub.onmessage = event => { const text: string = event.data };'],
    ['a status'     => 'hub.onerror = event => { const status: number | undefined = event.status };'],
    [
        'other types' =>
            'hub.addEventListener("transport", event => { const way: "stream" | "poll" = event.transport });'
    ],
    [
        'a listener goes' =>
            'const take = (event: MessageEvent<string>) => 0; hub.addEventListener("x", take); hub.removeEventListener("x", take);'
    ],
    ['a loop' => 'async function read() { for await (const event of await hub.ready) event.data }'],
);
is problems_of(join "\n", map { "{ $_->[1] }    // $_->[0]" } @RIGHT), '', 'an EventSource with the events of a hub';
like problems_of('const number: number = hub.lastEventId;'), qr/TS2322/, 'a mistake is one';

done_testing;
