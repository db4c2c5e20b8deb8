package Testing::Journal;
use strict;
use warnings;

# A file to which the processes of a server report line by line, each line under a tag. The test reads it.
#
#   my $journal = Testing::Journal->new;                         # in the test; its path is for the server's environment
#   Testing::Journal->open($ENV{TESTING_JOURNAL})->write(7, 'hi'); # in a process of the server
#   like $journal->reports(7), qr/^hi$/m;

use Carp              qw(croak);
use Testing::Deadline qw(wait_until);
use Errno             ();
use Fcntl             qw(O_APPEND O_WRONLY);
use File::Temp        ();
use Test::More        ();

# Creates the file: at a path, or one of its own that is removed with the object.
sub new {
    my ($class, $path) = @_;
    my $file = defined $path ? undef : File::Temp->new(TEMPLATE => 'journal-XXXXXX', TMPDIR => 1);
    my $self = bless {file => $file, path => $file ? $file->filename : $path}, $class;
    CORE::open my $created, '>>', $self->{path} or croak "Journal: $self->{path}: $!";
    return $self;
}

sub open {
    my ($class, $path) = @_;
    croak 'Journal: there is no path' if !defined $path;
    return bless {path => $path}, $class;
}

sub path { return $_[0]{path} }

# Appends one line, atomically. Does nothing when the test has ended and removed the file.
sub write {
    my ($self, $tag, $text) = @_;
    my $is_there = sysopen my $file, $self->{path}, O_WRONLY | O_APPEND;
    return                             if !$is_there && $!{ENOENT};
    croak "Journal: $self->{path}: $!" if !$is_there;
    syswrite $file, "$tag $text\n";
    CORE::close $file or croak "Journal: $self->{path}: $!";
    return;
}

# Returns all lines of a tag, without the tag.
sub reports {
    my ($self, $tag) = @_;
    CORE::open my $file, '<', $self->{path} or croak "Journal: $self->{path}: $!";
    return join '', map { /\A\Q$tag\E (.*)/s ? $1 : () } readline $file;
}

# Waits until the lines of a tag match, and makes a test of it. Returns what the pattern captures.
sub report_ok {
    my ($self, $tag, $pattern, $name) = @_;
    my $reports;
    wait_until(sub { ($reports = $self->reports($tag)) =~ $pattern });
    Test::More::like($reports, $pattern, $name);
    return $reports =~ $pattern;
}

1;
