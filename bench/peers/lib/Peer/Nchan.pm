package Peer::Nchan;
use strict;
use warnings;

# nginx with nchan and bench/peers/nchan/nginx.conf. A separate process publishes by POSTs on one persistent connection, each
# after the answer to the previous one: HTTP pipelining was not faster, and several connections would not keep the order of
# the events. nchan makes its own ids, so the number of an event is in its data.

use parent 'Peer';
use Testing::Developer qw(has_command);
use Load;
use Peer::Program;

my $TEMPLATE    = 'bench/peers/nchan/nginx.conf';
my $PACKAGE     = 'libnginx-mod-nchan';
my $CONNECTIONS = 16_384;                           # of each worker
my $TIMEOUT     = 60;                               # seconds

# Public methods

# The publisher has a connection to the same port, which does not count.
sub held {
    my $self = shift;
    return $self->SUPER::held - 1;
}

sub install_with {
    return [qw(apt-get install -y --no-install-recommends), $PACKAGE];
}

sub is_published_from_outside { return 1 }

sub missing {
    return "nginx is not installed (apt-get install nginx $PACKAGE)" if !has_command('nginx');
    return "nginx has no nchan (apt-get install $PACKAGE)"           if !-e _modules() . '/ngx_nchan_module.so';
    return;
}

sub number { return 'data' }

sub open {
    my ($self, %option) = @_;
    my $program = $self->{program} = Peer::Program->new('nchan');
    my $config  = $program->write_from(
        $TEMPLATE,
        connections => $CONNECTIONS,
        descriptors => $CONNECTIONS + 1_024,
        modules     => _modules(),
        room        => $option{room},
        user        => $> == 0 ? 'user ' . getpwuid($>) . ';' : '',
    );
    $program->run({}, 'nginx', '-e', 'stderr', '-p', $program->folder, '-c', $config);
    return if $option{resumes};
    $self->{publisher} = Load->start('publisher', port => $self->port, way => 'post', path => '/publish');
    $self->{publisher}->answer($TIMEOUT);
    return;
}

sub place_to_publish { return (port => $_[0]->port, path => '/publish') }

sub asked { return 0 }

sub reload {
    my $self = shift;
    kill HUP => $self->{program}->pid;
    return;
}

sub version {
    my ($nginx) = `nginx -v 2>&1` =~ m{nginx/(\S+)};
    my $nchan = `dpkg-query -W -f '\${Version}' $PACKAGE 2>/dev/null` || '?';
    return "nchan $nchan, nginx $nginx";
}

# Private functions

sub _modules { return `nginx -V 2>&1` =~ /--modules-path=(\S+)/ ? $1 : '/usr/lib/nginx/modules' }

1;
