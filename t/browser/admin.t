# The admin page in real browsers: what flows, and to whom; a tail; what is published and ended; names and data that are
# HTML stay text; a hub process that is killed, and a server that is away.

use lib 't/lib';
use Testing qw(Server=Starman);
use EventSource::Hub::Process;
use Testing::Browser;
use Testing::Client;
use Testing::Server qw(path);

Testing::Browser->require_or_skip_all($_) for Testing::Browser->names;

my $TOKEN = 'the-token-of-this-test';

my $EVIL = q(<script>document.title='evil'</script><img src=x onerror="document.title='evil'">);

# One character of each kind that a browser draws as nothing.
my @HIDDEN = (
    0x7,    0x9F,   0xAD,   0x34F,  0x61C,  0x115F, 0x180E,  0x200B,  0x202E,  0x2028,  0x2029, 0x2069,
    0x3164, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFB, 0x1D173, 0x1D17A, 0xE0001, 0xE007F, 0xE0100
);

sub text { return "document.getElementById('$_[0]').textContent" }

# A channel of the list.
sub button { return "document.querySelector('#channels button[data-channel=\"$_[0]\"]')" }

# Fills a form and sends it.
sub submit {
    my ($tab, $form, %value) = @_;
    $tab->evaluate("document.querySelector('#$form [name=$_]').value = '$value{$_}', 1") for sort keys %value;
    $tab->evaluate("document.querySelector('#$form button').click(), 1");
    return;
}

for my $name (Testing::Browser->names) {
    my $browser = Testing::Browser->start($name);

    subtest "$name: a named hub" => sub {
        my $folder = new_folder;
        my @place  = (name         => 'shop',      socket => "$folder/s");
        my %env    = (ADMIN_SOCKET => "$folder/s", $name eq 'Chromium' ? (ADMIN_TOKEN => $TOKEN) : ());
        my $server = Testing::Server->start('Starman', 't/data/admin.psgi', workers => 2, env => \%env);
        my $client = Testing::Client->stream($server->port,
            path('/events', channel => 'orders', member => 'ann', label => 'user/7'));
        my $url = $server->url('/admin/');
        $url =~ s{//}{//ann:$TOKEN@} if $name eq 'Chromium';    # as a bookmark has it; Firefox asks its user
        my $tab = $browser->new_tab($url);

        $tab->wait_for("/^No event has come for [0-9]+ s.* 1 stream waits/.test(${\text('flow')})",
            'nobody publishes, and one stream waits');
        $server->ask('/publish', channel => 'orders', data => $_) for 1 .. 3;
        $tab->wait_for("/^[0-9.]+ events a second come, .* to 1 stream/.test(${\text('flow')})",
            'events flow, to one stream');
        $tab->wait_for("/Tickets issued1Streams by ticket0/.test(${\text('numbers')})", 'a client has a ticket');
        $tab->wait_for(button('orders'),                                                'the channel is listed');
        $tab->evaluate('window.kept = ' . button('orders') . ', 1');
        $tab->evaluate(button('orders') . '.click(), 1');
        $tab->wait_for("/ann.*\"name\":\"Ann\"/.test(${\text('members')})", 'its members');
        $tab->wait_for("/join/.test(${\text('retained')})",                 'its state');
        $tab->wait_for("document.querySelectorAll('#tail li').length >= 4", 'its last events');
        ok $tab->evaluate('kept.isConnected'), 'its button stays where a reader may be about to press it';

        submit($tab, 'publish', channel => 'orders', event => 'test', data => 'from the page');
        $tab->wait_for("/^published as /.test(document.querySelector('#publish output').textContent)",
            'an event is published');
        $tab->wait_for("/test.*from the page/.test(document.querySelector('#tail li').textContent)",
            'the tail shows it first');
        ok $client->read_until(qr/^event: test\r?\ndata: from the page/m), 'the client has it';
        my $other = $browser->new_tab($server->url('/admin/#orders'));
        $other->wait_for("/from the page/.test(${\text('tail')})", 'a second tab has it, too');

        $server->ask('/publish', channel => $EVIL, data => $EVIL);
        $tab->wait_for("${\text('channels')}.includes('<script>')", 'a name of HTML is shown as text');
        $tab->evaluate("location.hash = encodeURIComponent(`$EVIL`), 1");
        $tab->wait_for("${\text('tail')}.includes('onerror')", 'so is data');
        is $tab->evaluate('document.querySelectorAll("main img, main script").length'), 0, 'it makes no element';
        is $tab->evaluate('document.title'), 'Hub shop',                                   'and runs no script';

        my $hidden = join '', map { sprintf '\\u{%x}', $_ } @HIDDEN;
        submit($tab, 'publish', channel => "orders$hidden", data => 'x');
        $tab->wait_for(
            "${\text('channels')}.includes(String.raw`orders$hidden`)",
            'a name with what nobody sees does not pose as another one'
        );

        my $foreign = $browser->new_tab($server->url('/publish?channel=other&data=x') =~ s/127[.]0[.]0[.]1/localhost/r);
        my $post    = "{method: 'POST', mode: 'no-cors', body: '{\"channel\":\"evil\",\"data\":\"x\"}'}";
        is $foreign->evaluate(
            "fetch('${\$server->url('/admin/publish')}', $post).then(() => 'an answer', () => 'none')"),
            'none', 'a page of another site gets no answer';
        $tab->wait_for("document.querySelector('[data-channel=other]')", 'what comes after it is listed');
        ok !$tab->evaluate("!!document.querySelector('[data-channel=evil]')"), 'and has published nothing';
        $foreign->close;

        submit($tab, 'end', label => 'user/7');
        $tab->wait_for("document.querySelector('#end output').textContent === '1 stream ended'",
            'streams of a label end');
        ok wait_until(sub { $client->read_until(qr/never/, 0.1); $client->ended }), 'the client sees it';

        my $kill = sub { kill KILL => EventSource::Hub::Process->connect(@place, autostart => 0)->pid };
        $_->evaluate("document.getElementById('close').click(), 1") for $tab, $other;
        $kill->();
        $_->wait_for("${\text('state')} === 'the hub process is away; waiting for it'",
            'the page says that the hub is away')
            for $tab, $other;
        $server->ask('/publish', channel => 'orders', data => 'after');
        $_->wait_for("${\text('state')} === 'open'", 'and it comes back') for $tab, $other;
        $other->evaluate("location.hash = 'orders', 1");
        $other->wait_for("/after/.test(${\text('tail')})", 'with the tail');
        $kill->();
        $server->ask('/publish', channel => 'orders', data => 'later');
        $other->wait_for("/later/.test(${\text('tail')})", 'which outlives a hub process');

        $server->stop;
        $tab->wait_for("/^no connection/.test(${\text('state')})", 'the page says that the server is away');
        $_->close for $tab, $other;
        EventSource::Hub::Process->stop(@place);
    };

    subtest "$name: a hub without a name" => sub {
        my $server = Testing::Server->start('HTTP::Server::PSGI', 't/data/admin.psgi');
        my $client = Testing::Client->stream($server->port, path('/events', channel => 'orders'));
        my $tab    = $browser->new_tab($server->url('/admin/#orders'));
        $tab->wait_for("/^No event has come for [0-9]+ s/.test(${\text('flow')})", 'the page asks for each look');
        $tab->wait_for("!document.getElementById('note').hidden",                  'and says what it shows');
        submit($tab, 'publish', channel => 'orders', data => 'from the page');
        $tab->wait_for("/from the page/.test(${\text('tail')})", 'the tail');
        ok $client->read_until(qr/^data: from the page/m), 'the client has it';
        $tab->wait_for("/a second come/.test(${\text('flow')})", 'events flow');
        $tab->close;
    };
}

done_testing;
