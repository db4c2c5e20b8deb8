package Testing::Frameworks;
use Testing;

# The checks of the applications in examples/frameworks: a login by form, a stream that needs it, events of other requests,
# resume, and clients that leave.
#
#   streams_on('dancer2.psgi', 'Starman', 'Twiggy');
#   streams_ok($server);                    # a server that has been started with EVENTSOURCE_XS_DEBUG
#   kinds_ok($server, 'native stream');

use Carp     qw(croak);
use Encode   qw(encode_utf8);
use Exporter qw(import);
use Testing::Client;
use Testing::Server;
use Testing::Subscriber qw(events wait_for_events);

our @EXPORT_OK =
    qw(application data_of get kinds_ok log_in mistakes_ok multiparts_ok post posts_ok publish streams_ok streams_on);

# The path of an application.
sub application { return 'examples/frameworks/' . shift }

# The data of the events that a client has received.
sub data_of {
    return map { $_->{data} } events($_[0]->text);
}

# Requests a path on a connection of its own. Options: cookie, id (the Last-Event-ID), http, and those of Testing::Client.
sub get {
    my ($server, $path, %option) = @_;
    my @headers = (Connection => 'close', @{delete $option{headers} || []});
    my ($cookie, $id) = delete @option{qw(cookie id)};
    push @headers, Cookie          => $cookie if defined $cookie;
    push @headers, 'Last-Event-ID' => $id     if defined $id;
    my %tls = $server->can('certificate') && $server->certificate ? (certificate => $server->certificate) : ();
    return Testing::Client->get($server->port, $path, %tls, %option, headers => \@headers);
}

# Logs in and returns the cookie of the session.
sub log_in {
    my ($server, $user, %option) = @_;
    my $client = post($server, '/login', form => "user=$user&password=secret", %option);
    is $client->status, 200, "$user logs in";
    my ($cookie) = map { /\A([^;]+)/ } $client->header('Set-Cookie');
    ok defined $cookie, 'and is given a session';
    return $cookie;
}

# Posts a form, or a body of another type, and waits for the response. Options: form; body and type; and those of get.
sub post {
    my ($server, $path, %option) = @_;
    my ($form, $body, $type)     = delete @option{qw(form body type)};
    ($body, $type) = ($form, 'application/x-www-form-urlencoded') if defined $form;
    my @headers = ('Content-Type' => $type, 'Content-Length' => length $body);
    my $client  = get($server, $path, method => 'POST', %option, headers => \@headers, then => $body);
    $client->read_all && $client->complete or croak "Frameworks: $path was not answered";
    $client->leave;
    return $client;
}

# The whole contract for clients of HTTP/1.0 and 1.1.
sub streams_ok {
    my $server = shift;
    for my $version ('1.0', '1.1') {
        my %http = (http => $version);
        subtest "HTTP/$version, without a login"    => sub { is_refused($server, %http) };
        subtest "HTTP/$version, with a login"       => sub { is_served($server, %http) };
        subtest "HTTP/$version, clients that leave" => sub { is_noticed($server, %http) };
    }
    subtest 'a login begins a session with another id' => sub { is_new_session($server) };
    return;
}

# The whole contract on PSGI servers, each with one process. Its streams are native.
sub streams_on {
    my ($file, @names) = @_;
    for my $name (@names) {
        subtest $name => sub {
            my @start  = (workers => 1, env => {EVENTSOURCE_XS_DEBUG => 1});
            my $server = Testing::Server->start($name, application($file), @start);
            streams_ok($server);
            kinds_ok($server, 'native stream');
        };
    }
    return;
}

# Stops a server that was started with EVENTSOURCE_XS_DEBUG, and checks what kind all of its streams were. A framework may
# buffer the log until the server ends.
sub kinds_ok {
    my ($server, $kind) = @_;
    $server->stop;
    my @kinds = $server->log =~ /(native stream|on the server's writer.*)/g;
    cmp_ok scalar @kinds, '>=', 10, 'the log names the kind of each stream';
    is_deeply [grep { $_ ne $kind } @kinds], [], "each is $kind";
    return;
}

# Checks

# Mistakes in the application, whose file has this name: each is logged with its line.
sub mistakes_ok {
    my ($server, $file) = @_;
    my %message = (
        '/no-hub'     => 'EventSource::Framework: events takes an EventSource::Hub, then channels at ',
        '/no-channel' => 'EventSource::Framework: events takes channels after the hub at ',
        '/no-handler' =>
            'EventSource::Framework: event_source takes a handler, a code reference, or an object with to_app at ',
    );
    for my $path (sort keys %message) {
        my $client = get($server, $path);
        ok $client->read_all && $client->complete, "$path is answered in full";
        is $client->status, 500, 'with 500';
        like $server->log, qr/\Q$message{$path}\E[^\n]*\Q$file\E line/, 'the log names the line of the application';
    }
    return;
}

# Forms with parts, as FormData sends them, to t/data/mojolicious.psgi: that framework keeps the parts only.
sub multiparts_ok {
    my $server = shift;
    my $type   = 'multipart/form-data; boundary=xyzzy';
    my $part   = qq(--xyzzy\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n);
    my $end    = "--xyzzy--\r\n";
    my $long   = join("", map { chr 33 + $_ } 0 .. 89) x 3_334;
    for my $case (
        ['two fields'   => sprintf("$part$part$end",       name => 'anna', text => 'a & b'), 'name=anna', 'text=a & b'],
        ['a long field' => sprintf("$part$end",            text => $long), "text=$long"],
        ['a preamble'   => sprintf("ignored\r\n$part$end", text => 'x'),   'text=x'],
    ) {
        my ($what, $body, @lines) = @$case;
        my $client = post($server, '/echo', body => $body, type => $type);
        is $client->status, 200, "a form with $what has a stream";
        ok eq_array([data_of($client)], \@lines), 'its handler reads the fields';
    }

    # The parser of Plack dies of these.
    for my $body ($end, 'nothing') {
        my @headers = ('Content-Type' => $type, 'Content-Length' => length $body);
        my $client  = get($server, '/echo', method => 'POST', headers => \@headers, then => $body);
        ok $client->read_all, 'a form without parts is answered';
    }
    return;
}

# Streams by POST and other methods, of t/data/dancer2.psgi and t/data/mojolicious.psgi.
sub posts_ok {
    my $server = shift;
    my $long   = 'x' x 300_000;
    for my $case (
        ['JSON' => '{"name":"anna","text":"a & b"}', 'name=anna', 'text=a & b'],
        ['long JSON' => qq({"text":"$long"}), "text=$long"],
    ) {
        my ($what, $body, @lines) = @$case;
        for my $method ('POST', 'PUT') {
            my $client = post($server, '/echo', method => $method, body => $body, type => 'application/json');
            is $client->status, 200, "a $method of $what has a stream";
            ok eq_array([data_of($client)], \@lines), 'its handler reads the body';
        }
    }
    my $client = get($server, '/events', method => 'POST', headers => ['Content-Length' => 0]);
    ok $client->read_until(qr/^id: /m), 'a POST to channels of a hub has a stream';
    $client->leave;
    $client = get($server, '/only-get', method => 'POST', headers => ['Content-Length' => 0]);
    ok $client->read_all, 'a method that is not in the attribute methods is answered';
    is $client->status,          405,   'the attribute methods refuses others';
    is $client->header('Allow'), 'GET', 'Allow names those';
    $client = get($server, '/echo', method => 'OPTIONS');
    ok $client->read_all, 'OPTIONS is answered';
    is $client->status, 405, 'with 405';
    return;
}

# Publishes, and returns the event's id.
sub publish {
    my ($server, $cookie, $text) = @_;
    my $client = post($server, '/news', form => "text=$text", cookie => $cookie);
    is $client->status, 200, "$text is published";
    return $client->body =~ s/\s+\z//r;
}

sub is_refused {
    my ($server, %http) = @_;
    for my $path ('/events', '/room') {
        my $client = get($server, $path, %http);
        ok $client->read_all && $client->complete, "$path without a session is answered in full";
        is $client->status, 403, 'with status 403';
        unlike $client->header('Content-Type') // '', qr/event-stream/, 'the response is not a stream';
    }
    is post($server, '/login', form => 'user=anna&password=wrong')->status, 403, 'a wrong password gives 403';
    return;
}

sub is_served {
    my ($server, %http) = @_;
    my $cookie = log_in($server, 'anna');
    my $client = get($server, '/events', cookie => $cookie, %http);
    ok $client->read_until(qr/^id: /m), 'the stream begins with its position';
    is $client->status,                         200,                                'its status is 200';
    is scalar($client->header('Content-Type')), 'text/event-stream; charset=UTF-8', 'its type is that of a stream';
    is scalar(my @types = $client->header('Content-Type')), 1,                      'once';
    is scalar($client->header('Content-Length')),           undef,                  'its length is open';
    ok scalar($client->header('Set-Cookie')), 'its head has the cookie of the session';
    my $first = publish($server, $cookie, 'one');
    my ($id) = map { $_->{id} } grep { ($_->{data} // '') eq 'one' } wait_for_events($client, 1);
    is $id, $first, 'it receives an event of another request';
    $client->leave;
    publish($server, $cookie, $_) for 'two', 'dr%C3%BC';
    $client = get($server, '/events', cookie => $cookie, id => $id, %http);
    wait_for_events($client, 2);
    is_deeply [data_of($client)], ['two', encode_utf8('drü')],
        'a client that reconnects receives what it has missed, once';
    $client->leave;
    return;
}

# Whoever has put an id of his own into the browser before the login does not read with it afterwards. A session of
# Mojolicious has no id: it is in the cookie.
sub is_new_session {
    my $server = shift;
    my $before = log_in($server, 'anna');
    return pass 'the session has no id' if $before =~ /\Amojolicious=/;
    my $after = log_in($server, 'anna', cookie => $before);
    isnt $after, $before, 'the session has another id';
    my $client = get($server, '/events', cookie => $before);
    $client->read_head;
    is $client->status, 403, 'the one from before is worth nothing';
    return $client->leave;
}

# On a server that blocks, callbacks run at the next request for a stream.
sub is_noticed {
    my ($server, %http) = @_;
    my ($anna,   $bob)  = map { log_in($server, $_) } qw(anna bob);
    my $stays = get($server, '/events', cookie => $anna, %http);
    $stays->read_until(qr/^id: /m);
    my $leaves = get($server, '/room', cookie => $bob, %http);
    ok $leaves->read_until(qr/^data: bob is here/m), 'the handler of a stream subscribes and publishes';
    ok $stays->read_until(qr/^data: bob is here/m),  'another stream receives its event';
    $leaves->leave;
    my $is_noticed = wait_until sub {
        get($server, '/events', cookie => $anna, %http)->read_until(qr/^id: /m);
        return $stays->read_until(qr/^data: bob has left/m, 0.05);
    };
    ok $is_noticed, 'on_close runs when the client has left';
    $stays->leave;
    return;
}

1;
