package Testing::MojoServer;
use Testing;

# A server of Mojolicious with an application, which is copied into a folder of its own: hypnotoad keeps its files there.
#
#   my $server = Testing::MojoServer->start('daemon', 'examples/frameworks/mojolicious.pl', tls => 1);
#   my $other  = Testing::MojoServer->start('hypnotoad', $file);

use parent 'Testing::Server';
use Carp       qw(croak);
use File::Copy qw(copy);
use File::Spec ();

# Starts the new version of an application, as an administrator does. Returns what the command prints.
sub deploy {
    my $self    = shift;
    my $program = Testing::Program->new('hypnotoad')->run($self->{started}[0], _hypnotoad(), $self->{app});
    $program->wait_for_end;
    return $program->log;
}

# The process id of the manager.
sub manager {
    my $self = shift;
    open my $file, '<', $self->folder . '/hypnotoad.pid' or return 0;
    return readline($file) + 0;
}

# Options: tls => 1; env, a hash; args, further arguments for daemon and prefork.
sub start {
    my ($class, $kind, $file, %option) = @_;
    my $self = $class->new("Mojolicious, $kind");
    $self->{app} = $self->folder . '/app.pl';
    copy($file, $self->{app}) or croak "MojoServer: $file: $!";
    $self->{certificate} = $self->_certificate if $option{tls};
    my %env = (EVENTSOURCE_XS_DEBUG => 1, MOJO_LISTEN => $self->_listen, %{$option{env} || {}});
    return $self->run(\%env,
        $kind eq 'hypnotoad' ? (_hypnotoad(), '-f', $self->{app}) : ($^X, $self->{app}, $kind, @{$option{args} || []}));
}

sub _hypnotoad {
    my ($path) = grep { -x } map { File::Spec->catfile($_, 'hypnotoad') } File::Spec->path;
    return ($^X, $path);
}

sub _listen {
    my $self = shift;
    my $tls  = $self->{certificate} or return 'http://127.0.0.1:' . $self->port;
    return sprintf 'https://127.0.0.1:%d?cert=%s&key=%s', $self->port, @$tls;
}

1;
