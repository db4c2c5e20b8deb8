# Streams over https: certificates are checked. With every library.

use lib 't/lib';
use Testing;
use Testing::Certificates;
use Testing::ControlledProcess;
use Testing::Developer     qw(needs needs_module);
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Testing::SideBySide qw(run_each);

needs_module('IO::Socket::SSL');
needs_module('IO::Async::SSL');
needs(Testing::Certificates->trouble);

my $folder = new_folder;
my $made   = Testing::Certificates->new($folder);

# A server with a certificate for these names.
sub serving {
    my ($file, $names, $answer) = @_;
    my ($cert, $key) = $made->sign($file, $names);
    my $listen = Testing::ControlledProcess->listener;
    my $serve  = sub {
        my $control = shift;
        my $select  = IO::Select->new($control, $listen);
        while (1) {
            my %is_ready = map { ($_ => 1) } $select->can_read;
            return if $is_ready{$control};
            my $plain = $is_ready{$listen} && $listen->accept or next;
            my $client =
                IO::Socket::SSL->start_SSL($plain, SSL_server => 1, SSL_cert_file => $cert, SSL_key_file => $key)
                or next;
            my $head = '';
            while ($head !~ /\r\n\r\n\z/) { sysread $client, $head, 1, length $head or last }
            print {$client} $answer;
            close $client;
        }
    };
    my $server = Testing::ControlledProcess->launch($serve);
    return ($server, 'https://127.0.0.1:' . $listen->sockport . '/');
}

# Each perl has the authority of its own.
run_each [Testing::ReadingClient->ways] => sub {
    my $way = shift;
    local $ENV{SSL_CERT_FILE} = $made->ca;    # AnyEvent::TLS reads it
    IO::Socket::SSL::set_client_defaults(SSL_ca_file => $made->ca);
    my $many   = join '', map { "data: $_\n\n" } 1 .. 20_000;
    my $stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    my $read   = sub { Testing::ReadingClient->read($way, {url => shift, reconnect => 0}) };

    my ($good, $url) = serving('good', 'IP:127.0.0.1', $stream . $many);
    my $seen = $read->($url);
    is_deeply [map { $_->{data} } @{$seen->{events}}], [1 .. 20_000], 'a server whose certificate is right is read'
        or diag explain [@$seen{qw(errors)}, $seen->{client}->error . ''];
    (my $other, $url) = serving('other', 'IP:127.0.0.2', $stream . $many);
    $seen = $read->($url);
    is_deeply [@$seen{qw(events errors)}], [[], ['unavailable']], 'a certificate for another name is refused';

    my $listen = Testing::ControlledProcess->listener;
    my $closed = 'https://127.0.0.1:' . $listen->sockport . '/';
    close $listen;
    like $read->($closed)->{client}->error, qr/connection refused/i, 'the error of a port where nobody listens says so';

    my $plain = hostile_server(sub { print {$_[0]} "$stream\ndata: plain\n\n" });
    (my $down, $url) = serving('down', 'IP:127.0.0.1',
        "HTTP/1.1 302 Found\r\nLocation: " . $plain->url('/') . "\r\nContent-Length: 0\r\n\r\n");
    $seen = $read->($url);
    is_deeply [@$seen{qw(events errors)}], [[], ['refused']], 'a redirect to http is not followed';
};

done_testing;
