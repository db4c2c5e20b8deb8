# Plack::App::EventSource keeps its contract on each server: on the server's writer, with native streams. Behind nginx, under TLS
# and on a Unix socket it keeps the basics.

use strict;
use warnings;

use lib 't/lib';
use Testing::Contract;
use Testing::Server;
use Testing::SideBySide qw(run_each);
use Test::More;

# http_server_psgi.t runs the contract on HTTP::Server::PSGI.
my @SERVERS = grep { $_ ne 'HTTP::Server::PSGI' } Testing::Server->names;

my %RUN = (
    (
        map { ($_ => [run => $_], "$_, native" => [run => $_, native => 1]) } @SERVERS, 'HTTP::Server::Simple::PSGI',
        'MockHTTP'
    ),
    (map { ("$_, unix" => [run_basics => $_, unix => 1]) } @SERVERS),

    # Under TLS streams stay on the server's writer.
    (map { ("$_, tls" => [run_basics => $_, tls => 1]) } 'HTTP::Server::PSGI', qw(Starman uWSGI)),

    # As documented, and with the least configuration.
    (
        map {
            my $nginx = $_;
            ("Starman, unix, nginx $nginx" => [run_basics => 'Starman', nginx => $nginx, unix => 1]),
                map { ("$_, nginx $nginx" => [run_basics => $_, nginx => $nginx]) } qw(Starman Twiggy uWSGI);
        } 'documented',
        'bare'
    ),
    'uWSGI, nginx' => [run_basics => 'uWSGI, behind a proxy', nginx => 'uwsgi'],
    'FCGI, nginx'  => [run_basics => 'FCGI', nginx => 'FastCGI', unix => 1],
);

run_each(
    sub {
        my ($run, @arguments) = @{$RUN{$_[0]}};
        Testing::Contract->$run(@arguments);
    },
    sort keys %RUN
);
done_testing;
