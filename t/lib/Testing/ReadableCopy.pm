package Testing::ReadableCopy;
use strict;
use warnings;

# Copies folders to where every user may read them. A checkout below somebody's home folder, or made under the umask 077, is
# readable for its owner only, and so nothing that another user runs in a test may be in it.
#
#   use Testing::ReadableCopy qw(copy_for_all folder_for_all);
#   my $folder = folder_for_all;                # a File::Temp::Dir
#   copy_for_all('blib', "$folder/blib");

use Carp       qw(croak);
use Exporter   qw(import);
use File::Temp ();

our @EXPORT_OK = qw(copy_for_all folder_for_all);

# Copies a folder to a path that does not exist. The folder that will have it must be readable for all.
sub copy_for_all {
    my ($from, $to) = @_;
    for my $command (['cp', '-R', $from, $to], ['chmod', '-R', 'a+rX', $to]) {
        system(@$command) == 0 or croak "ReadableCopy: @$command: status $?";
    }
    return;
}

sub folder_for_all {
    my $folder = File::Temp->newdir(TMPDIR => 1);
    chmod 0755, $folder->dirname or croak "ReadableCopy: $folder: $!";
    return $folder;
}

1;
