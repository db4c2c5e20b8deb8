package Testing::Journal;
use strict;
use warnings;

# A file to which the processes of a server tell what they see, line by line, each under a tag; a test reads it.
#
#   my $journal = Testing::Journal->new;                         # in the test; its path is for the server's environment
#   Testing::Journal->open($ENV{NATIVE_JOURNAL})->tell(7, 'hi'); # in a process of the server
#   like $journal->told(7), qr/^hi$/m;

use Carp              qw(croak);
use Testing::Deadline qw(wait_until);
use Fcntl             qw(O_APPEND O_CREAT O_WRONLY);
use File::Temp        ();
use Test::More        ();

my $DEADLINE = 10;    # seconds; for what should happen at once

sub new {
    my $class = shift;
    my $file  = File::Temp->new(TEMPLATE => 'journal-XXXXXX', TMPDIR => 1);
    return bless {file => $file, path => $file->filename}, $class;
}

# Public methods

sub open {
    my ($class, $path) = @_;
    croak 'Journal: there is no path' if !defined $path;
    return bless {path => $path}, $class;
}

sub path { return $_[0]{path} }

# One line, in one piece, whoever else writes.
sub tell {
    my ($self, $tag, $text) = @_;
    sysopen my $file, $self->{path}, O_WRONLY | O_APPEND | O_CREAT or croak "Journal: $self->{path}: $!";
    syswrite $file, "$tag $text\n";
    CORE::close $file or croak "Journal: $self->{path}: $!";
    return;
}

# All that was told under a tag.
sub told {
    my ($self, $tag) = @_;
    CORE::open my $file, '<', $self->{path} or croak "Journal: $self->{path}: $!";
    return join '', map { /\A\Q$tag\E (.*)/s ? $1 : () } readline $file;
}

# Waits until it was told, and makes a test of that. Returns what the pattern captures.
sub told_ok {
    my ($self, $tag, $pattern, $what) = @_;
    my $told;
    wait_until($DEADLINE, sub { ($told = $self->told($tag)) =~ $pattern });
    Test::More::like($told, $pattern, $what);
    return $told =~ $pattern;
}

1;
