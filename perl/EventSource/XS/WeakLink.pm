package EventSource::XS::WeakLink;
use strict;
use warnings;

# A weak reference for closures to an object whose class has CLONE_SKIP. perl does not copy such an object for a new ithread,
# but it copies a weak reference to it, and ends with "panic: del_backref" when the copy is freed. A link is not copied either:
# in the thread its closures find undef.
#
#   my $link = EventSource::XS::WeakLink->new($object);
#   on_timer(sub { $$link->turn if $$link });

use Scalar::Util qw(weaken);

sub CLONE_SKIP { return 1 }

sub new {
    my ($class, $object) = @_;
    weaken $object;
    return bless \$object, $class;
}

1;
