package Testing::Demo;
use Testing;

# script/demo, as a user runs it: it builds and serves the page, its button kills the hub process, streams continue, with a
# store without a loss, and Ctrl-C leaves nothing behind. What the page does in a browser is in t/browser/live.t.
#
#   demo_ok('', gaps => 1);
#   demo_ok('redis', gaps => 0);

use lib 'examples/live/lib';
use Exporter qw(import);
use JSON::PP qw(decode_json encode_json);
use Live::Processes;
use Testing::Client;
use Testing::Developer qw(needs_command);
use Testing::Port;
use Testing::Process qw(is_running none_runs);
use Testing::Program;
use Testing::Redis;
use Testing::RoamingClient;
use Testing::Server;

our @EXPORT_OK = qw(demo demo_ok);

my $KILLED = 2;    # seconds, for what was killed; a hub that was forgotten ends by itself after 5 or more

# Starts it with a few clients in a folder of its own for temporary files. Returns the program; the URL is in its output.
sub demo {
    my ($folder, $port, %environment) = @_;
    my %all = (PORT => $port->number, CROWD => 5, TMPDIR => "$folder", SERVER => '', STORE => '', %environment);
    return Testing::Program->new('script/demo')->run(\%all, 'script/demo');
}

sub demo_ok {
    my ($store, %option) = @_;
    Testing::Redis->require_or_skip_all if $store eq 'redis';
    my $folder = new_folder;
    my $port   = Testing::Port->new;
    my $demo   = demo($folder, $port, STORE => $store);
    my $url    = 'http://127.0.0.1:' . $port->number;
    ok wait_until($DEADLINE, sub { $demo->log =~ /^Starman runs at \Q$url\E - /m || $demo->has_ended }),
        'it says where it runs'
        or return;
    my $page = Testing::Client->get($port->number, '/');
    $page->read_all;
    like $page->body, qr/<html/, 'the page is served';
    my $window = Testing::RoamingClient->open($port->number, path => '/window');
    ok $window->has(qr/"has_process":1/), 'a stream is open';
    my ($here) = map { decode_json($_->{data}) } grep { ($_->{event} // '') eq 'here' } $window->events;
    is $here->{store}, $store || undef, 'it says where the hub keeps its events';
    _note_ok($port, $window, "before $_") for 1, 2;

    my $killed = _post($port, '/act', {from => 'Test', what => 'hub'})->{pid};
    ok $killed,                                             'the button kills the hub process';
    ok wait_until($DEADLINE, sub { !is_running($killed) }), 'it has ended';
    _note_ok($port, $window, "after $_") for 1, 2;
    is_deeply [grep { !/\Akill/ } _notes($window)], ['before 1', 'before 2', 'after 1', 'after 2'],
        'the window has all notes, once and in order';
    is $window->gaps, $option{gaps}, $option{gaps} ? 'it received a gap' : 'it received no gap';

    my ($socket) = glob "$folder/*/hub";
    my @running = (_descendants($demo->pid), Live::Processes::hub($socket));
    cmp_ok @running, '>=', 7, 'there are a crowd, a server with four workers, and a hub';
    kill INT => -$demo->pid;
    ok wait_until($DEADLINE, sub { $demo->has_ended }),                                   'Ctrl-C ends it';
    ok wait_until($KILLED,   sub { none_runs(@running, Live::Processes::hub($socket)) }), 'no process is left';
    is_deeply [glob "$folder/*"], [], 'and no file';
    $window->leave;
    return;
}

sub require_or_skip_all {
    Testing->need('named_hubs');
    needs_command($_) for qw(cargo make);
    return Testing::Server->require_or_skip_all('Starman');
}

# Sends JSON to a path as the page does. Returns the answer; nothing if it is refused.
sub _post {
    my ($port, $path, $object) = @_;
    my $body   = encode_json($object);
    my $client = Testing::Client->post($port->number, $path, $body, 'Content-Type' => 'application/json');
    return $client->status == 200 ? decode_json($client->body) : {};
}

# Publishes a note by the page's form, and waits until a window has it.
sub _note_ok {
    my ($port, $window, $text) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok _post($port, '/notes', {from => 'Test', text => $text})->{id}, "'$text' is published";
    return ok $window->has(qr/"text":"\Q$text\E"/), 'and received';
}

# The texts of all notes that a window has received.
sub _notes {
    my $window = shift;
    return map { decode_json($_->{data})->{text} } grep { ($_->{event} // '') eq 'notes' } $window->events;
}

# All processes that descend from one.
sub _descendants {
    my @parents = @_;
    my @all;
    while (defined(my $parent = shift @parents)) {
        my @children = Live::Processes::workers($parent);
        push @all,     @children;
        push @parents, @children;
    }
    return @all;
}

1;
