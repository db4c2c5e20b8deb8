package Testing::ConfiguredProxy;
use strict;
use warnings;

# A real nginx or HAProxy in front of a server, with directives of the test. It ends with the object.
#
#   my $proxy = Testing::ConfiguredProxy->start('nginx', $server, 'proxy_read_timeout 500ms;');
#   my @lines = Testing::ConfiguredProxy->mended(['proxy_read_timeout 500ms;'], ['proxy_read_timeout 60s;']);

use parent 'Testing::Daemon';
use Carp               qw(croak);
use Testing::Developer qw(has_command);

# Debian installs both in this folder, which is not in a user's PATH.
$ENV{PATH} .= ':/usr/sbin';

# The program, the text of its configuration, and the command line.
my %PROXY = (
    nginx   => ['nginx',   \&_nginx,   sub { ('nginx',   '-e',  'stderr', '-p', $_[0]->folder, '-c', $_[1]) }],
    HAProxy => ['haproxy', \&_haproxy, sub { ('haproxy', '-db', '-f',     $_[1]) }],
);

# Public methods

# Returns the directives with the lines of a remedy: a line takes the place of the directive that it begins as, apart from
# the last word; a comment tells what to remove.
sub mended {
    my ($class, $directives, $remedy) = @_;
    my @lines = @$directives;
    for my $line (@$remedy) {
        if ($line =~ /^#.*\bremove (.+)/) {
            my @removed = split /, | and /, $1;
            @lines = grep {
                my $directive = $_;
                !grep { index($directive, $_) == 0 } @removed
            } @lines;
            next;
        }
        next if $line =~ /^#/;
        @lines = grep { my $beginning = s/\s+\S+\z//r; index("$line ", "$beginning ") != 0 } @lines;
        push @lines, $line;
    }
    return @lines;
}

# Why a proxy cannot run here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    return has_command($PROXY{$name}[0]) ? undef : "there is no $PROXY{$name}[0] here";
}

sub start {
    my ($class, $name, $server, @directives) = @_;
    my (undef, $text, $command) = @{$PROXY{$name} || croak "ConfiguredProxy: there is no '$name'"};
    my $self = $class->new($name);
    my $path = $self->folder . '/configuration';
    open my $file, '>', $path or croak "$path: $!";
    print {$file} $text->($self, $server, @directives);
    close $file or croak "$path: $!";
    return $self->run({}, $command->($self, $path));
}

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

# Private functions

sub _haproxy {
    my ($self, $server, @directives) = @_;
    my ($port, $to,     $lines)      = ($self->port, $server->port, join "\n    ", @directives);
    return <<"HAPROXY";
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen proxy
    bind 127.0.0.1:$port
    $lines
    server application 127.0.0.1:$to
HAPROXY
}

# All that it writes is in the folder. It is one process, because the workers of root are another user's.
sub _nginx {
    my ($self,   $server, @directives) = @_;
    my ($folder, $port,   $to)         = ($self->folder, $self->port, $server->port);
    my $places = join ' ',              map { "${_}_temp_path $folder/$_;" } qw(client_body fastcgi proxy scgi uwsgi);
    my $lines  = join "\n            ", @directives;
    return <<"NGINX";
daemon off;
master_process off;
pid $folder/pid;
events {}
http {
    access_log off;
    $places
    proxy_cache_path $folder/cache keys_zone=cache:1m;
    proxy_http_version 1.1;
    server {
        listen 127.0.0.1:$port;
        location / {
            proxy_pass http://127.0.0.1:$to;
            $lines
        }
    }
}
NGINX
}

1;
