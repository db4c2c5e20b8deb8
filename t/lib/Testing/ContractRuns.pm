package Testing::ContractRuns;
use Testing;

# The runs of the contract (Testing::Contract), by their names: on each server, on the server's writer and with native streams,
# and the basics of it behind nginx, under TLS and on a Unix socket.
#
#   contract_holds('t');     # in the few runs of t
#   contract_holds('xt');    # in all others

use Exporter qw(import);
use Testing::Contract;
use Testing::Server;
use Testing::SideBySide qw(run_each);

our @EXPORT_OK = qw(contract_holds);

# t/servers/http_server_psgi.t runs the contract on HTTP::Server::PSGI.
my @SERVERS = grep { $_ ne 'HTTP::Server::PSGI' } Testing::Server->native;

my %IS_OF_T = map { ($_ => 1) } 'Starman, native', 'Twiggy', 'Twiggy, native';

# As documented, and with the least configuration.
my @NGINX = ('documented', 'bare');

my %RUN = (
    (
        map { ($_ => [run => $_], "$_, native" => [run => $_, native => 1]) } @SERVERS, 'HTTP::Server::Simple::PSGI',
        'MockHTTP'
    ),
    (map { ("$_, unix" => [run_basics => $_, unix => 1]) } @SERVERS),

    # Under TLS streams stay on the server's writer.
    (map { ("$_, tls" => [run_basics => $_, tls => 1]) } 'HTTP::Server::PSGI', qw(Starman uWSGI)),

    (map { ("Starman, unix, nginx $_" => [run_basics => 'Starman', nginx => $_, unix => 1]) } @NGINX),
    (map { _on_nginx($_) } qw(Starman Twiggy uWSGI)),
    'uWSGI, nginx' => [run_basics => 'uWSGI, behind a proxy', nginx => 'uwsgi'],
    (map { ("$_, nginx" => [run_basics => $_, nginx => 'FastCGI', unix => 1]) } qw(FCGI FCGI::EV AnyEvent::FCGI)),
);

sub contract_holds {
    my $where = shift;
    my @names = grep { $IS_OF_T{$_} xor $where eq 'xt' } sort keys %RUN;
    run_each [@names] => sub {
        my ($run, @arguments) = @{$RUN{$_[0]}};
        Testing::Contract->$run(@arguments);
    };
    done_testing;
    return;
}

sub _on_nginx {
    my $name = shift;
    return map { ("$name, nginx $_" => [run_basics => $name, nginx => $_]) } @NGINX;
}

1;
