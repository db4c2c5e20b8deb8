# The recipe of EventSource::Cookbook for XMPP: Prosody with the configuration of the example, its application on Starman with
# four workers, and its page, which is that of mod_pubsub_eventsource, in a real browser. Its unit: systemd accepts it, and
# its command runs.

use lib 't/lib';
use Testing qw(named_hubs Browser Prosody);
use HTTP::Tiny;
use Testing::Developer qw(has_command);
use Testing::Program;
use Testing::Server;
use Testing::SourceTree qw(slurp write_file);
use Testing::XMPPBridge;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(json text));

my $UNIT = 'examples/deployment/systemd/system/eventsource-xmpp@.service';

my $configuration = slurp('examples/xmpp/prosody.cfg.lua');
my ($secret)      = $configuration =~ /component_secret = "(.+)"/;
my $prosody       = Testing::Prosody->start(hosts => $configuration);
my %as            = ($prosody->as_component, password => $secret, prefix => 'xmpp/');
my $bridge        = Testing::XMPPBridge->new(\%as, 'news')->start('--publish');
my %env           = (XMPP_SOCKET => $bridge->socket, EDITOR_SECRET => 'secret');
my $server        = Testing::Server->start('Starman', 'examples/xmpp/app.psgi', workers => 4, env => \%env);
my $url           = $server->url('/eventsource/news');
my $editor        = Testing::XMPPClient->login($prosody, 'editor');
my $browser       = Testing::Browser->start;

sub shows_ok {
    my ($texts, $name) = @_;
    return $browser->wait_for("[...document.querySelectorAll('li')].map(li => li.textContent).join('|') === '$texts'",
        $name);
}

$editor->publish('news', 1, text('before the page'));
$bridge->events('xmpp/news', 1);
$browser->open($server->url('/'));
shows_ok('before the page', 'a page shows the last items');
$editor->publish('news', 2, text('Grüße <b>'));
$editor->publish('news', 3, json('{"a":1}'));
shows_ok('before the page|Grüße <b>|{"a":1}', 'and each that comes');

my $curl = Testing::Program->new('curl')->run({}, qw(curl -sN), $url);
ok wait_until($DEADLINE, sub { $curl->log =~ /^data: \{"a":1\}\r?$/m }), 'curl reads them';
$curl->stop;

subtest 'Prosody is killed' => sub {
    $prosody->restart('KILL');
    $editor = Testing::XMPPClient->login($prosody, 'editor');
    $editor->publish('news', 4, text('after'));
    shows_ok('before the page|Grüße <b>|{"a":1}|after', 'the page continues');
};
subtest 'an item of the application' => sub {
    my %header   = ('Content-Type' => 'text/plain', 'X-Editor-Secret' => 'secret');
    my $response = HTTP::Tiny->new->post($url, {content => 'posted', headers => \%header});
    is $response->{status}, 200, 'is taken' or diag $response->{content};
    shows_ok('before the page|Grüße <b>|{"a":1}|after|posted', 'and comes to the page');
    is(HTTP::Tiny->new->post($url, {content => 'x', headers => {'Content-Type' => 'text/plain'}})->{status},
        403, 'that of another client is refused');
};
$editor->purge('news');
shows_ok('', 'a purge clears the page');
$browser->open('about:blank');
is_deeply [$browser->complaints], [], 'the browser reports no error';
$bridge->stop;

subtest 'the unit' => sub {
    my $folder    = new_folder;
    my $program   = "$folder/eventsource";
    my $unit      = slurp($UNIT);
    my ($command) = $unit =~ /^ExecStart=((?:.*\\\n)*.*)$/m;
    $command =~ s/\\\n//g;
    $unit    =~ s{/usr/local/bin/eventsource}{/bin/true}g;
    write_file("$folder/eventsource-xmpp\@.service", $unit);
SKIP: {
        skip 'there is no systemd-analyze here', 1 if !has_command('systemd-analyze');
        my $said = qx{systemd-analyze --system verify $folder/eventsource-xmpp\@.service 2>&1};
        is "$?: $said", '0: ', 'is verified without a word';
    }

    write_file("$folder/password", "$secret\n");
    my ($example) = slurp($UNIT) =~ /XMPP=(.+)$/m;
    my $socket = $bridge->socket;
    $example =~ s/example[.]org/example.test/g;
    $example =~ s/127[.]0[.]0[.]1/127.0.0.1 --port @{[$prosody->component_port]}/;
    for ($command) {
        s{\A\S+}{};
        s{\S+[.]sock}{$socket};
        s{%i}{xmpp}g;
        s{\$\{CREDENTIALS_DIRECTORY\}}{$folder};
        s{\$XMPP}{$example};
    }
    my $service = $bridge->shell->start(split ' ', $command);
    $editor->publish('weather/today', 1, text('rain'));
    is_deeply $bridge->data('weather/today', 1), ['rain'], 'its command runs';
    is $service->stop, 0, 'and ends at a signal';
};

done_testing;
