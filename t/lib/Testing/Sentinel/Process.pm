package Testing::Sentinel::Process;
use strict;
use warnings;

# One Sentinel on a free port of 127.0.0.1, which watches a master of Testing::Sentinel. It ends with the object, and takes
# commands as Testing::Redis does.

use parent 'Testing::Redis';
use Carp qw(croak);

my $DOWN_AFTER = 500;      # milliseconds
my $FAIL_OVER  = 5_000;    # milliseconds until another attempt

# Watches the master with that name and port; so many Sentinels have to agree that it is down. All have one password, or none.
sub start {
    my ($class, $name, $port, $quorum, $password) = @_;
    my $self = $class->new('Sentinel');
    $self->{login} = ['AUTH', $password] if defined $password;
    open my $file, '>', $self->_file or croak $self->_file . ": $!";
    print {$file} map { "$_\n" } (
        'bind 127.0.0.1',
        'port ' . $self->port,
        'daemonize no',
        'dir ' . $self->folder,
        'unixsocket ' . $self->_socket,
        "sentinel monitor $name 127.0.0.1 $port $quorum",
        "sentinel down-after-milliseconds $name $DOWN_AFTER",
        "sentinel failover-timeout $name $FAIL_OVER",
        "sentinel auth-user $name testing",
        "sentinel auth-pass $name testing",
        defined $password ? "requirepass $password" : (),
    );
    close $file or croak $self->_file . ": $!";
    return $self->run({}, $self->_program, $self->_file, '--sentinel');
}

# A Sentinel has none of the users of Testing::Redis.
sub _login { return $_[0]{login} || () }

1;
