# Plack::App::EventSource keeps its contract on each server, on the server's writer and with native streams, and the basics of
# it behind nginx, under TLS and on a Unix socket.

use lib 't/lib';
use Testing;
use Testing::Contract;
use Testing::Server;
use Testing::SideBySide qw(run_each);

# http_server_psgi.t runs the contract on HTTP::Server::PSGI.
my @SERVERS = grep { $_ ne 'HTTP::Server::PSGI' } Testing::Server->names;

# As documented, and with the least configuration.
my @NGINX = ('documented', 'bare');

sub on_nginx {
    my $name = shift;
    return map { ("$name, nginx $_" => [run_basics => $name, nginx => $_]) } @NGINX;
}

my %RUN = (
    (
        map { ($_ => [run => $_], "$_, native" => [run => $_, native => 1]) } @SERVERS, 'HTTP::Server::Simple::PSGI',
        'MockHTTP'
    ),
    (map { ("$_, unix" => [run_basics => $_, unix => 1]) } @SERVERS),

    # Under TLS streams stay on the server's writer.
    (map { ("$_, tls" => [run_basics => $_, tls => 1]) } 'HTTP::Server::PSGI', qw(Starman uWSGI)),

    (map { ("Starman, unix, nginx $_" => [run_basics => 'Starman', nginx => $_, unix => 1]) } @NGINX),
    (map { on_nginx($_) } qw(Starman Twiggy uWSGI)),
    'uWSGI, nginx' => [run_basics => 'uWSGI, behind a proxy', nginx => 'uwsgi'],
    (map { ("$_, nginx" => [run_basics => $_, nginx => 'FastCGI', unix => 1]) } qw(FCGI FCGI::EV AnyEvent::FCGI)),
);

run_each(
    sub {
        my ($run, @arguments) = @{$RUN{$_[0]}};
        Testing::Contract->$run(@arguments);
    },
    sort keys %RUN
);
done_testing;
