# EventSource::Tutorial, as a reader does it: the files as the installed manual shows them, indented, in an empty folder; the
# commands that it shows, with another port; and the pages in a browser.

use lib        qw(t/lib examples/live/lib);
use Testing    qw(named_hubs);
use File::Spec ();
use Live::Processes;
use Test::EventSource;
use Testing::Browser;
use Testing::Daemon;
use Testing::Developer qw(has_command needs_command);
use Testing::Nginx;
use Testing::Process qw(is_running none_runs);
use Testing::Program;
use Testing::Server;
use Testing::SourceTree qw(slurp write_file);

needs_command('curl');
Testing::Server->require_or_skip_all('Starman');
Testing::Browser->require_or_skip_all;

my $MANUAL = slurp('blib/lib/EventSource/Tutorial.pod');
$ENV{PATH} = File::Spec->rel2abs('blib/script') . ":$ENV{PATH}";

my $hub     = Test::EventSource->private_hub(name => 'bakery');    # also in all that this test starts
my $browser = Testing::Browser->start;
my $folder  = new_folder;
my $server;

# The files, with the manual's indentation (t/documents/manuals.t sees that they are there), under the name in their first line.
my %file;
for my $path (glob 'examples/tutorial/*') {
    my $text = slurp($path) =~ s/^(?=.*\S)/    /gmr;
    my ($name) = $text =~ /\A    # ([\w.]+):/ or die "$path has no name in its first line\n";
    $file{$name} = $text;
    write_file("$folder/$name", $text);
}

# A command that the manual shows, in the shell of the reader, with the port of the server and what else differs here.
sub shown {
    my ($command, %here) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok $MANUAL                           =~ /^    \Q$command\E$/m, "the manual shows: $command";
    $command                             =~ s/127[.]0[.]0[.]1:5000/'127.0.0.1:' . $server->port/e if $server;
    $command                             =~ s/\Q$_\E/$here{$_}/ for keys %here;
    return 'cd "$0" && exec ' . $command =~ s/ &\z//r;
}

sub start { return Testing::Program->new('shell')->run({}, 'sh', '-c', shown(@_), "$folder") }

# Types a command that ends. Returns what it prints.
sub type {
    my $command = start(@_);
    ok wait_until(sub { $command->has_ended }), 'the command ends';
    is $command->stop, 0, 'it succeeds' or diag $command->log;
    return $command->log;
}

# Serves an application of the tutorial in the place of the one before.
sub serve {
    my $command = shift;
    undef $server;
    my $daemon = Testing::Daemon->new('server');
    my $line   = shown($command);
    my $port   = $daemon->port;
    $line =~ s/127[.]0[.]0[.]1:5000/127.0.0.1:$port/ or $line .= " -p $port";
    return $server = $daemon->run({}, 'sh', '-c', $line, "$folder");
}

sub url { return 'http://127.0.0.1:' . $server->port . shift }

sub shows { my ($text, $name) = @_; return $browser->wait_for("document.body.innerText.trim() === '$text'", $name) }

# Publishes until the page shows it.
sub is_connected_ok {
    my $name = shift;
    my $es   = Test::EventSource->new(url => url(''));
    return eventually_ok $name => sub {
        $es->post('/bake', form => [bread => 'wheat', left => 8]);
        $browser->evaluate("baked.textContent.includes('wheat: 8')");
    };
}

my $BAKE = 'curl -d bread=rye -d left=3 http://127.0.0.1:5000/bake';

subtest 'step 1: the first event' => sub {
    serve('plackup --host 127.0.0.1 first.psgi');
    my $curl = start('curl -N http://127.0.0.1:5000/events &');

    # curl shows its progress in between, because it writes to a file here.
    ok wait_until(sub { $curl->log =~ /event: position\r?\ndata: ?\r?\nid: \w+-0\r?$/m }), 'first comes the position';
    type($BAKE);
    ok wait_until(sub { $curl->log =~ /data: \{(?=.*"bread":"rye")(?=.*"left":3).*\}\r?\nid: \w+-1\r?$/m }),
        'then the event';
    my ($id) = $curl->log =~ /^id: (\w+-0)\r?$/m;
    $curl->stop;
    my $again = start(q(curl -N -H 'Last-Event-ID: aasapo6g-0' http://127.0.0.1:5000/events), 'aasapo6g-0' => $id);
    ok wait_until(sub { $again->log =~ /data: \{.*"rye".*\}\r?\nid: \w+-1\r?$/m }),
        'a client that comes back receives it again';
    $again->stop;
};

subtest 'step 2: a page' => sub {
    serve('plackup --host 127.0.0.1 page.psgi');
    $browser->open(url('/'));
    is_connected_ok('the stream of the page is open');
    type($BAKE);
    $browser->wait_for("baked.lastChild.textContent === 'rye: 3'", 'the page shows what curl publishes');
    $server->restart;
    $browser->evaluate('baked.replaceChildren()');
    is_connected_ok('the page comes back when the server does');
};

subtest 'step 3: four workers' => sub {
    serve('starman --listen 127.0.0.1:5000 --workers 4 workers.psgi');
    $browser->open(url('/'));
    ok wait_until(sub { $hub->stats->{streams} }), 'the page has a stream, which the hub process holds';
    my ($worker) = type($BAKE) =~ /^published by worker ([0-9]+)$/m;
    shows('rye: 3', 'the page shows the event');
    ok kill(KILL => $worker) && wait_until(sub { !is_running($worker) }), 'a worker is killed';
    isnt + (type($BAKE) =~ /([0-9]+)$/m)[0], $worker, 'another one answers';
    shows('rye: 3\nrye: 3', 'the page shows the next event');
};

subtest 'step 4: state' => sub {
    serve('starman --listen 127.0.0.1:5000 --workers 4 state.psgi');
    type('curl -d bread=rye   -d left=3 http://127.0.0.1:5000/bake');
    type('curl -d bread=wheat -d left=8 http://127.0.0.1:5000/bake');
    $browser->open(url('/'));
    shows('rye: 3\nwheat: 8', 'a page that comes later shows what is left');
    type('curl -d bread=rye -d left=0 http://127.0.0.1:5000/bake');
    shows('wheat: 8', 'what is sold is gone');
};

my $STARMAN = 'starman --listen 127.0.0.1:5000 --workers 4 bakery.psgi';

subtest 'step 5: who is here' => sub {
    serve($STARMAN);
    my $es = Test::EventSource->new(url => url(''));
    $browser->open(url('/?name=ann'));
    shows('wheat: 8\n\nHere: ann', 'the page shows its own visitor');
    my $bob = $es->get('/events?name=bob');
    shows('wheat: 8\n\nHere: ann, bob', 'and who comes');
    like type('eventsource members --hub bakery people'), qr/\bann\b.*\bbob\b/s, 'the shell knows both';
    $bob->close;
    shows('wheat: 8\n\nHere: ann', 'who leaves is gone');
    my $nobody = $es->get('/events');
    is $nobody->status, 200, 'a stream without a name has no member';
};

subtest 'step 6: a job publishes' => sub {
    like type(q(eventsource publish --hub bakery --retain --key rye bread '{"bread":"rye","left":5}')),
        qr/\A\w+-\d+\n\z/,
        'the command prints the id';
    shows('wheat: 8\nrye: 5\n\nHere: ann', 'the page shows what the shell publishes');
    my $tail = start('eventsource tail --hub bakery --from-state bread');
    ok wait_until(sub { $tail->log =~ /"wheat".*"rye"/s }), 'the shell shows the state';
    $tail->stop;
    my $job = start('perl bake wheat 12');
    shows('rye: 5\nwheat: 2\n\nHere: ann', 'the page shows what the job publishes');
    $job->stop;
};

subtest 'step 7: a test' => sub {
    like type('prove bakery.t'), qr/^All tests successful/m, 'it passes';
    shows('rye: 5\nwheat: 2\n\nHere: ann', 'and the server that runs notices nothing');
};

subtest 'step 8: in production' => sub {
    my ($starman) = $file{'bakery.service'} =~ m{^\s+ExecStart=/usr/bin/(.+)$}m;
    is $starman, $STARMAN, 'the service runs the command of step 5';
    my @workers = Live::Processes::workers($server->pid);
    kill HUP => $server->pid;
    ok wait_until(sub { none_runs(@workers) }), 'its reload replaces all workers';
    type($BAKE);
    shows('wheat: 2\nrye: 3\n\nHere: ann', 'the page shows what is published then');

SKIP: {
        skip 'there is no systemd-analyze here', 1 if !has_command('systemd-analyze');
        my $said = qx{systemd-analyze verify $folder/bakery.service 2>&1};
        is "$?: $said", '0: ', 'systemd accepts the unit';
    }
SKIP: {
        skip 'there is no nginx here', 1 if !has_command('nginx');
        proxy_ok();
    }
};

# nginx with the file of the manual in front of the server, and the doctor in front of nginx.
sub proxy_ok {
    my $nginx = Testing::Daemon->new('nginx');
    my $site  = $file{'nginx.conf'} =~ s/listen 8080/'listen 127.0.0.1:' . $nginx->port/er;
    $site =~ s/127[.]0[.]0[.]1:5000/'127.0.0.1:' . $server->port/e or die 'no port';
    my $configuration = $nginx->folder . '/nginx.conf';
    write_file($configuration, Testing::Nginx::frame($nginx->folder, $site));
    $nginx->run({}, qw(nginx -e stderr -p), $nginx->folder, '-c', $configuration);

    my $doctor = 'eventsource doctor --hub bakery --channel bread http://127.0.0.1:8080/events';
    ok $MANUAL =~ /^    sudo -u www-data \Q$doctor\E$/m, 'the manual asks the doctor';
    $doctor =~ s/8080/$nginx->port/e;
    my $program = Testing::Program->new('doctor')->run({}, split(/ /, $doctor), qw(--seconds 1));
    ok wait_until(sub { $program->has_ended }), 'the doctor ends';
    is $program->stop, 0, 'it has found nothing wrong';
    like $program->log, qr/nothing is wrong/, 'and says so';
    return;
}

$browser->open('about:blank');
undef $server;
type('eventsource hub stop bakery');
done_testing;
