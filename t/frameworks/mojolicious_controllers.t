# Streams in controllers of Mojolicious, on its own server and under PSGI: the full application of the manual, and actions that
# have the name of a helper.

use lib 't/lib';
use Testing;
use File::Basename qw(dirname);
use File::Path     qw(make_path);
use File::Temp;
use Testing::Developer  qw(needs_module);
use Testing::Frameworks qw(data_of get post);
use Testing::MojoServer;
use Testing::Server;
use Testing::SourceTree qw(slurp);

needs_module('Mojolicious');

my $MANUAL = 'perl/EventSource/Framework/Mojolicious.pm';
my $HIDES  = qr/the action %s of My::App::Controller::%s hides the helper of that name, and would call itself[.]/;

# Writes the files of the manual's application, and returns the path of its script, which finds them.
sub write_application {
    my $folder = shift;
    my ($section) = slurp($MANUAL, ':encoding(UTF-8)') =~ /^=head2 A full application\n(.*?)^=head2/ms;
    my ($none, %file) = split /^    # (\S+)\n/m, $section;
    $file{'news.pl'} =~ s/^\S.*//ms;
    for my $name (keys %file) {
        make_path(dirname("$folder/$name"));
        open my $file, '>', "$folder/$name" or die "$folder/$name: $!";
        print {$file} "use lib '$folder/lib';\n" if $name eq 'news.pl';
        print {$file} $file{$name} =~ s/^ {4}//gmr;
        close $file or die "$folder/$name: $!";
    }
    return "$folder/news.pl";
}

# A server with an application, of Mojolicious or for PSGI.
sub started {
    my ($server, $file) = @_;
    return $server eq 'daemon'
        ? Testing::MojoServer->start('daemon', $file)
        : Testing::Server->start($server, $file, workers => 1);
}

sub asked {
    my ($server, $path) = @_;
    my $client = get($server, $path);
    ok $client->read_all && $client->complete, "$path is answered in full" or diag $client->body;
    return $client;
}

for my $name ('daemon', 'Starman') {
    subtest "$name: the manual's full application" => sub {
        my $folder = File::Temp->newdir;
        my $server = started($name, write_application($folder));
        my $client = get($server, '/events');
        ok $client->read_until(qr/^id: /m), 'a stream begins in the action events' or diag $server->log;
        is post($server, '/news', form => 'text=hello')->status, 204, 'another action publishes';
        ok $client->read_until(qr/^data: hello\n/m), 'the client receives the event';
    };

    subtest "$name: actions with the names of helpers" => sub {
        my $server = started($name, 't/data/mojolicious_controllers.pl');
        is asked($server, '/beside-all')->status, 500,
            'an action that calls another one, which calls itself for the helper';
        for my $path ('/heir', '/hiding') {    # the heir's actions are those of the other one
            for my $query ('', '?how=without%20a%20hub', $name eq 'daemon' ? '?how=later' : ()) {
                is asked($server, "$path-events$query")->status, 500, 'an action that calls itself for the helper';
            }
            is asked($server, "$path-event_source")->status, 500, 'so does the other one';
        }
        for my $action ('events', 'event_source') {
            my $reason = sprintf $HIDES, $action, 'Hiding';
            like $server->log, qr/$reason Write \$c->respond_with_$action\(...\), or give .* line [0-9]+[.]/,
                "the log says why the action $action cannot, and what can be done";
        }
        for my $action ('respond_with_events', 'respond_with_event_source') {
            is asked($server, "/aliased-$action")->status, 500, "an action $action that calls itself for the helper";
            my $reason = sprintf $HIDES, $action, 'Aliased';
            like $server->log, qr/$reason Write \$c->helpers->$action\(...\), or give .* line [0-9]+[.]/,
                "the log says why the action $action cannot, and what can be done";
        }
        my $by_proxy = get($server, '/aliased-by_proxy');
        ok $by_proxy->read_until(qr/^data: by the proxy\n/m), 'the helper of that name streams by way of helpers';
        $by_proxy->leave;
        unlike $server->log, qr/Deep recursion/, 'none calls itself again and again';
        is_deeply [data_of(asked($server, '/knowing-event_source'))], ['pushed'],
            'the other name of event_source streams';
        my $client = get($server, '/knowing-events');
        ok $client->read_until(qr/^data: published\n/m), 'and that of events';
        $client->leave;
        is asked($server, '/calendar-events')->body, 'of this year', 'an action without a stream is called as before';
        is asked($server, '/calendar-past')->body,   'of 1969',      'also by another action, with arguments';
    };
}

done_testing;
